// What the examples that train have in common: a small model of 16 x 16 pictures, and some steps of it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <cstdio>

namespace lab {

inline constexpr sra::DiTConfig config{
    .height = 16, .width = 16, .channels = 3, .patch = 4, .hidden = 48, .depth = 4, .heads = 3};
using Model = sra::SiT<config, sra::Classes<10>>;

/// Trains and shows the losses.  @return what main returns: 0 if the loss of the last tenth of the steps is below the first's
template <class Trainer>
int train_and_show(Trainer& trainer, const sra::Dataset auto& data, int steps) {
  double first = 0, last = 0;
  for (auto step : trainer.train(data, steps)) {
    if (step.every(steps / 5)) step.log();
    if (step.number() <= steps / 10) first += step.report().losses.total;
    if (step.number() > steps - steps / 10) last += step.report().losses.total;
  }
  std::printf("the loss fell from %.3f to %.3f\n", first / (steps / 10), last / (steps / 10));
  return last < first ? 0 : 1;
}

}  // namespace lab
