// A data set of one's own: a function of an index and of random numbers.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <cmath>
#include <cstddef>

namespace lab {

/// Grey pictures of standing waves; the condition is their two frequencies, in half waves a picture.
template <sra::index_t H, sra::index_t W>
struct Waves {
  struct Sample : sra::Image<1, H, W> {
    static constexpr sra::index_t condition_size = 2;
  };

  /// Without it the data would be endless.
  std::size_t size() const { return 60; }
  /// Called from several threads: what it writes depends on its arguments alone.
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    const float x = 1.0f + static_cast<float>(i % 3), y = 1.0f + static_cast<float>(i % 5);
    const float phase = 6.2831853f * rng.uniform(0);
    for (sra::index_t k = 0; k < H * W; ++k) {
      const float column = static_cast<float>(k % W) / W, row = static_cast<float>(k / W) / H;
      out.image[static_cast<std::size_t>(k)] =
          std::cos(3.1415927f * x * column + phase) * std::cos(3.1415927f * y * row);
    }
    out.condition[0] = x;
    out.condition[1] = y;
  }
};

}  // namespace lab
