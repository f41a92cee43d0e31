// What one translation unit offers the other.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

namespace two_units {

inline constexpr sra::DiTConfig config{
    .height = 8, .width = 8, .channels = 3, .patch = 4, .hidden = 8, .depth = 1, .heads = 2};
using Model = sra::SiT<config, sra::Classes<10>>;
using Align = sra::SRALoss<sra::Layer<1>, sra::Layer<1>>;

}  // namespace two_units

extern SRA_INSTANTIATE(two_units::Model);

namespace two_units {

/// What trained() returns in the other unit.
double trained_elsewhere();

/// The total loss of the first two steps, in sum.
inline double trained() {
  sra::Trainer<Model, Align> trainer{{.batch = 4, .seed = 9, .threads = 1, .quiet = true}};
  const sra::Shapes<8> data;
  double sum = 0;
  for (auto step : trainer.train(data, 2)) sum += step.report().losses.total;
  return sum;
}

}  // namespace two_units
