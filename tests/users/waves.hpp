// A data set of a user's, in a namespace of the user's: the example's standing waves with a label and features.
// SPDX-License-Identifier: MIT
#pragma once

#include "../../examples/07_dataset.hpp"

#include <cstddef>
#include <cstdint>

namespace lab {

inline constexpr sra::DiTConfig config{
    .height = 4, .width = 8, .channels = 1, .patch = 2, .hidden = 16, .depth = 2, .heads = 2};
inline constexpr sra::index_t encoder_width = 5;

/// The example's waves with five features for each of the 8 patches; the label tells the first frequency.
struct Wave : Waves<4, 8>::Sample {
  static constexpr sra::index_t feature_size = 8 * encoder_width;
};

struct LabelledWaves : Waves<4, 8> {
  using Sample = Wave;

  int classes() const { return 3; }
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    Waves::read(i, rng, {out.image, out.label, out.condition});
    for (std::size_t k = 0; k < out.features.size(); ++k) out.features[k] = rng.normal(k) + out.condition[0];
    out.label = static_cast<std::int32_t>(i % 3);
  }
};

}  // namespace lab
