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

/// Samples side by side: images [B, H, W, C] without gaps, labels [B].
template <ImageLike Sample>
class Batch {
 public:
  /// @param size samples, >= 1
  explicit Batch(index_t size) {
    if (size < 1) throw Error(text("Batch: expected a size >= 1, got ", size));
    labels_.resize(static_cast<std::size_t>(size));
    images_.resize(labels_.size() * static_cast<std::size_t>(Sample::size));
  }

  index_t size() const { return static_cast<index_t>(labels_.size()); }
  /// [B, H, W, C]
  View<const float, typename Sample::shape> images() const {
    return dense(images_.data(), typename Sample::shape{size()});
  }
  /// [B]
  std::span<const std::int32_t> labels() const { return labels_; }
  /// The destination of sample b.
  Row<Sample> row(index_t b) {
    return {
        std::span(images_).subspan(static_cast<std::size_t>(b * Sample::size), static_cast<std::size_t>(Sample::size)),
        labels_[static_cast<std::size_t>(b)]};
  }

 private:
  std::vector<float> images_;
  std::vector<std::int32_t> labels_;
};

/// Reads one item and checks that every value was written and is finite.  Integers are compared, so that the check
/// survives flags that assume finite numbers.
template <Dataset D>
void read_checked(const D& data, std::size_t item, Rng rng, Row<typename D::Sample> out) {
  using Sample = typename D::Sample;
  std::fill(out.image.begin(), out.image.end(), std::numeric_limits<float>::quiet_NaN());
  out.label = 0;
  data.read(item, rng, out);
  constexpr std::uint32_t exponent = 0x7f800000u;
  for (std::size_t k = 0; k < out.image.size(); ++k) {
    if ((std::bit_cast<std::uint32_t>(out.image[k]) & exponent) != exponent) continue;
    const auto at = static_cast<index_t>(k), pixel = at / Sample::channels;
    throw Error(text("data: item ", item, ": expected finite values, got ", out.image[k], " at [y, x, c] = [",
                     pixel / Sample::width, ", ", pixel % Sample::width, ", ", at % Sample::channels, "]"));
  }
}

}  // namespace sra
