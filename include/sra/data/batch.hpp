// A batch of samples in memory, and how one row of it is read and checked.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/view.hpp>
#include <sra/data/dataset.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

namespace sra {

/// Samples side by side: images [B, H, W, C] without gaps, labels [B], and what else the samples carry.
template <ImageLike Sample>
class Batch {
 public:
  /// @param size samples, >= 1
  explicit Batch(index_t size) {
    if (size < 1) throw Error(text("Batch: expected a size >= 1, got ", size));
    labels_.resize(static_cast<std::size_t>(size));
    images_.resize(labels_.size() * static_cast<std::size_t>(Sample::size));
    conditions_.resize(labels_.size() * static_cast<std::size_t>(condition_size<Sample>));
    features_.resize(labels_.size() * static_cast<std::size_t>(feature_size<Sample>));
  }

  index_t size() const { return static_cast<index_t>(labels_.size()); }
  /// [B, H, W, C]
  View<const float, typename Sample::shape> images() const {
    return dense(images_.data(), typename Sample::shape{size()});
  }
  /// [B]
  std::span<const std::int32_t> labels() const { return labels_; }
  /// [B, condition_size] and [B, feature_size], without gaps.
  std::span<const float> conditions() const { return conditions_; }
  std::span<const float> features() const { return features_; }
  /// The destination of sample b.
  Row<Sample> row(index_t b) {
    const auto part = [b](std::vector<float>& all, index_t size) {
      return std::span(all).subspan(static_cast<std::size_t>(b * size), static_cast<std::size_t>(size));
    };
    return {part(images_, Sample::size), labels_[static_cast<std::size_t>(b)],
            part(conditions_, condition_size<Sample>), part(features_, feature_size<Sample>)};
  }

 private:
  std::vector<float> images_, conditions_, features_;
  std::vector<std::int32_t> labels_;
};

/// Reads one item and checks that every value was written and is finite.  Integers are compared, so that the check
/// survives flags that assume finite numbers.
template <Dataset D>
void read_checked(const D& data, std::size_t item, Rng rng, Row<typename D::Sample> out) {
  using Sample = typename D::Sample;
  const auto unset = [](std::span<float> part) {
    std::fill(part.begin(), part.end(), std::numeric_limits<float>::quiet_NaN());
  };
  unset(out.image);
  unset(out.condition);
  unset(out.features);
  out.label = 0;
  data.read(item, rng, out);
  const auto finite = [](float x) {
    constexpr std::uint32_t exponent = 0x7f800000u;
    return (std::bit_cast<std::uint32_t>(x) & exponent) != exponent;
  };
  for (std::size_t k = 0; k < out.image.size(); ++k) {
    if (finite(out.image[k])) continue;
    const auto at = static_cast<index_t>(k), pixel = at / Sample::channels;
    throw Error(text("data: item ", item, ": expected finite values, got ", out.image[k], " at [y, x, c] = [",
                     pixel / Sample::width, ", ", pixel % Sample::width, ", ", at % Sample::channels, "]"));
  }
  for (std::size_t k = 0; k < out.condition.size(); ++k)
    if (!finite(out.condition[k]))
      throw Error(text("data: item ", item, ": expected finite values, got ", out.condition[k], " in condition ", k));
  for (std::size_t k = 0; k < out.features.size(); ++k)
    if (!finite(out.features[k]))
      throw Error(text("data: item ", item, ": expected finite values, got ", out.features[k], " in feature ", k));
}

}  // namespace sra
