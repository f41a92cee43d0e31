// Samples for a model of any size.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <cstdint>
#include <vector>

namespace sra::test {

/// Random images with labels in host memory.
template <class Model>
struct Samples {
  static constexpr index_t size = Model::ImageShape::sample_size();
  std::vector<float> images;
  std::vector<std::int32_t> labels;

  explicit Samples(index_t n, std::uint64_t seed = 1) {
    for (index_t b = 0; b < n; ++b) {
      const Rng rng(seed, Purpose::user, 0, b);
      for (index_t i = 0; i < size; ++i) images.push_back(rng.normal(i));
      labels.push_back(static_cast<std::int32_t>(b % Model::Condition::count));
    }
  }
  MicroBatch<Model> batch(index_t first, index_t n) const {
    return {dense(images.data() + first * size, typename Model::ImageShape{n}),
            dense(labels.data() + first, Shape<dynamic>{n})};
  }
  MicroBatch<Model> all() const { return batch(0, static_cast<index_t>(labels.size())); }
};

}  // namespace sra::test
