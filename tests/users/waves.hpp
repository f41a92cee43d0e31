// A data set of a user's, in a namespace of the user's: standing waves with a label, two numbers and features.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>

namespace lab {

inline constexpr sra::DiTConfig config{
    .height = 4, .width = 8, .channels = 1, .patch = 2, .hidden = 16, .depth = 2, .heads = 2};
inline constexpr sra::index_t encoder_width = 5;

/// Grey images; the wave's two frequencies as a condition, and five features for each of the 8 patches.
struct Wave : sra::Image<1, 4, 8> {
  static constexpr sra::index_t condition_size = 2;
  static constexpr sra::index_t feature_size = 8 * encoder_width;
};

struct Waves {
  using Sample = Wave;

  std::size_t size() const { return 60; }
  int classes() const { return 3; }
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    const float x = 1.0f + static_cast<float>(i % 3), y = 1.0f + static_cast<float>(i % 5), phase = rng.uniform(0);
    for (std::size_t k = 0; k < out.image.size(); ++k)
      out.image[k] = std::cos(x * static_cast<float>(k % 8) + phase) * std::cos(y * static_cast<float>(k / 8));
    for (std::size_t k = 0; k < out.features.size(); ++k) out.features[k] = rng.normal(k) + x;
    out.condition[0] = x;
    out.condition[1] = y;
    out.label = static_cast<std::int32_t>(i % 3);
  }
};

}  // namespace lab
