// Tensors and expressions: extents are types, a formula is one kernel, gradients come from the tape.
// SPDX-License-Identifier: MIT
#include <sra/sra.hpp>

#include <cmath>
#include <cstdio>

/// The mean of silu(scale x + bias)²: broadcast, evaluated and summed in one pass, nothing in between is stored.
auto loss_of(auto x, auto scale, auto bias) { return mean(square(silu(scale * x + bias))); }

int main() {
  sra::Cpu cpu;
  sra::Workspace<sra::Cpu> workspace(cpu);                 // a stack of values, a pool of gradients, a tape
  sra::Recording<sra::Cpu, float> context(workspace, {});  // what is computed here can be differentiated

  // Two samples of three numbers, a factor for each sample, a bias for each column: only the batch is a number.
  float numbers[] = {-2, -1, 0, 1, 2, 3}, factors[] = {1.0f, 0.5f}, biases[] = {0.25f, 0.5f, 0.75f};
  const auto x = constant(context, sra::dense(numbers, sra::Shape<sra::dynamic, 3>{2}));   // [B, 3]
  const auto scale = constant(context, sra::dense(factors, sra::Shape<sra::dynamic>{2}));  // [B]
  const auto bias = input(context, sra::dense(biases, sra::Shape<3>{}));                   // [3], traced

  const auto y = eval(silu(scale * x + bias));  // [B, 3]
  std::printf("y of shape %s\n", to_string(y.value.shape).c_str());
  for (int b = 0; b < 2; ++b)
    std::printf("  %8.4f %8.4f %8.4f\n", y.value.row(b)[0], y.value.row(b)[1], y.value.row(b)[2]);

  const auto loss = loss_of(x, scale, bias);  // [1]
  const float value = *loss.value.data;
  backward(loss);
  const auto gradient = bias.at(bias.slot->data);  // [3]

  std::printf("mean of y squared: %.4f\n  bias  gradient  difference quotient\n", value);
  bool agrees = true;
  for (int i = 0; i < 3; ++i) {
    constexpr float h = 1.0f / 256;
    const auto at = [&](float b) {
      biases[i] += b;
      const double l = *loss_of(x, scale, bias.stop_gradient()).value.data;
      biases[i] -= b;
      return l;
    };
    const double quotient = (at(h) - at(-h)) / (2 * h);
    std::printf("  %4.2f %9.5f %20.5f\n", biases[i], gradient.data[i], quotient);
    // A third derivative below 8 times h²/6, and roundings of two losses below 4 over 2 h.
    agrees = agrees && std::abs(quotient - gradient.data[i]) < 8 * h * h / 6 + 2 * 4 * 0x1p-24 / (2 * h);
  }
  return agrees ? 0 : 1;
}
