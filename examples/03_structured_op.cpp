// A structured op of one's own: shape rules and a record for the tape, a kernel for each direction.
// SPDX-License-Identifier: MIT
#include "03_structured_op.hpp"

#include <cmath>
#include <cstdio>

int main() {
  sra::Cpu cpu;
  sra::Workspace<sra::Cpu> workspace(cpu);
  sra::Recording<sra::Cpu, double> context(workspace, {});

  double numbers[] = {1, 3, 8, 0, 13};
  const auto x = input(context, sra::dense(numbers, sra::Shape<sra::dynamic, 5, 1>{1}));  // [B, T, D] = [1, 5, 1]
  const auto y = lab::running_mean(x);                                                    // [B, T, D]
  const double expected[] = {1, 2, 4, 3, 5};
  bool agrees = true;
  std::printf("x    mean of x so far\n");
  for (int t = 0; t < 5; ++t) {
    std::printf("%-4g %g\n", numbers[t], y.value.row(0, t)[0]);
    agrees = agrees && y.value.row(0, t)[0] == expected[t];
  }

  backward(sum(y));
  std::printf("what the sum of the means gains from each x:\n");
  double slope = 0;
  for (int t = 4; t >= 0; --t) slope += 1.0 / (t + 1);  // x[0] is in all five means
  for (int t = 0; t < 5; slope -= 1.0 / ++t) {
    const double got = x.at(x.slot->data).row(0, t)[0];
    std::printf("%g\n", got);
    agrees = agrees && std::abs(got - slope) < 16 * 0x1p-53 * 3;  // a few roundings of numbers below 3
  }
  return agrees ? 0 : 1;
}
