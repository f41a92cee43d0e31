// A pointwise op of one's own: a value, a derivative, and it is fused into every formula that it stands in.
// SPDX-License-Identifier: MIT
#include "02_pointwise_op.hpp"

#include <cmath>
#include <cstdio>

int main() {
  sra::Cpu cpu;
  sra::Workspace<sra::Cpu> workspace(cpu);
  sra::Recording<sra::Cpu, double> context(workspace, {});

  double numbers[] = {-4, -1, -0.25, 0.25, 1, 4};
  const auto x = input(context, sra::dense(numbers, sra::Shape<6>{}));  // [6]
  const auto y = eval(2 * sra::map<lab::Softsign>(x));                  // [6], one kernel
  const sra::View<const double, sra::Shape<6>> values = y.value;
  double kept[6];
  for (int i = 0; i < 6; ++i) kept[i] = values.data[i];
  backward(y);
  const auto slope = x.at(x.slot->data);

  std::printf("      x   2 softsign(x)    slope\n");
  bool agrees = true;
  for (int i = 0; i < 6; ++i) {
    std::printf("%7.2f %15.4f %8.4f\n", numbers[i], kept[i], slope.data[i]);
    const double r = 1 / (1 + std::abs(numbers[i]));
    // A few roundings of numbers below 2.
    agrees = agrees && std::abs(kept[i] - 2 * numbers[i] * r) < 8 * 0x1p-53 * 2 &&
             std::abs(slope.data[i] - 2 * r * r) < 8 * 0x1p-53 * 2;
  }
  return agrees ? 0 : 1;
}
