// Cutting columns or tokens out of a value, in place.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>

namespace sra {

/// Columns [First, First + Count) of the last extent, in x's memory; the gradient of the other columns is zero.
/// @param x [..., D]  @return [..., Count]
template <index_t First, index_t Count, Variable X>
auto slice(X x) {
  static_assert(First >= 0 && Count > 0, "slice<First, Count>: First must not be negative, Count must be positive");
  static_assert(First + Count <= X::shape::width, "slice<First, Count>: the columns must lie within the last extent");
  using Part = with_last<typename X::shape, Count>;
  return part_of(
      x, View<typename X::type, Part>{x.value.data + First, Part{x.value.shape.batch}, x.value.pitch, x.value.stride});
}

/// Tokens [First, First + Count) of every sample, in x's memory; the gradient of the other tokens is zero.
/// @param x [B, T, D]  @return [B, Count, D]
template <index_t First, index_t Count, Variable X>
auto slice_rows(X x) {
  using S = typename X::shape;
  static_assert(S::rank == 3 && S::batched, "slice_rows: x must be [B, T, D]");
  static_assert(First >= 0 && Count > 0,
                "slice_rows<First, Count>: First must not be negative, Count must be positive");
  static_assert(First + Count <= S::sample_rows, "slice_rows<First, Count>: the tokens must lie within the sample");
  using Part = with_extent<S, 1, Count>;
  return part_of(x,
                 View<typename X::type, Part>{x.value.row(0, First), Part{x.batch()}, x.value.pitch, x.value.stride});
}

}  // namespace sra
