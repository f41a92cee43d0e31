// Strided views of tensors, and the gradient handle that every backward kernel receives.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/shape.hpp>

#include <cstddef>
#include <type_traits>

namespace sra {

/// Distance between rows that new tensors get: rows of token tensors start on multiples of 16 bytes.  Columns (rank 1)
/// and images (rank 4: [B, H, W, C]) have no gaps.
template <class T, class S>
constexpr index_t padded_pitch() {
  constexpr index_t step = sizeof(T) < 16 ? static_cast<index_t>(16 / sizeof(T)) : 1;
  return S::rank == 1 || S::rank >= 4 ? S::width : round_up(S::width, step);
}

/// A tensor in memory that somebody else owns: pointer, shape, distance between rows of the last extent and between
/// samples, in elements.  Trivially copyable; elements of a row are neighbours.
template <class T, class S>
struct View {
  using type = T;
  using shape_type = S;

  T* data = nullptr;
  S shape{};
  index_t pitch = padded_pitch<T, S>();
  index_t stride = padded_pitch<T, S>() * S::sample_rows;

  SRA_FN constexpr T* sample(index_t b) const { return data + b * stride; }
  SRA_FN constexpr T* row(index_t b, index_t r) const { return data + b * stride + r * pitch; }
  /// Row r of all rows of the batch.
  SRA_FN constexpr T* row(index_t r) const {
    return S::sample_rows == 1 ? data + r * stride : row(r / S::sample_rows, r % S::sample_rows);
  }
  /// Elements from the first to one past the last.
  SRA_FN constexpr index_t span() const {
    return shape.samples() == 0 ? 0 : (shape.samples() - 1) * stride + (S::sample_rows - 1) * pitch + S::width;
  }
  /// Whether row r of the batch lies at data + r * pitch for every r.
  SRA_FN constexpr bool uniform() const {
    return S::sample_rows == 1 || shape.samples() <= 1 || stride == pitch * S::sample_rows;
  }
  /// Distance between neighbouring rows of a uniform view.
  SRA_FN constexpr index_t row_stride() const { return S::sample_rows == 1 ? stride : pitch; }
  /// Whether the elements lie one after the other without gaps.
  SRA_FN constexpr bool contiguous() const { return uniform() && (shape.rows() <= 1 || row_stride() == S::width); }

  template <class U>
    requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
  SRA_FN constexpr operator View<U, S>() const { return {data, shape, pitch, stride}; }
};

/// A view of memory without gaps.
template <class T, class S>
SRA_FN constexpr View<T, S> dense(T* data, S shape) {
  return {data, shape, S::width, S::sample_size()};
}

/// Samples [first, first + count) of a batched view.
template <class T, class S>
SRA_FN constexpr View<T, S> samples_of(View<T, S> v, index_t first, index_t count) {
  static_assert(S::batched, "samples_of: the view must have a batch");
  return {v.data + first * v.stride, S{count}, v.pitch, v.stride};
}

/// What a backward kernel does with a gradient.
enum class GradMode { ignore, overwrite, accumulate };

/// Where a backward kernel puts a gradient, and how.
template <class T, class S>
struct Grad {
  View<T, S> to{};
  GradMode mode = GradMode::ignore;
  SRA_FN constexpr explicit operator bool() const { return mode != GradMode::ignore; }
};

}  // namespace sra
