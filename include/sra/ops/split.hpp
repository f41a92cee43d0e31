// Splitting a value into equal parts of its columns, in place.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>

#include <array>
#include <cstddef>
#include <utility>

namespace sra {

/// N equal parts of the last extent: auto [q, k, v] = split<3>(qkv).  The parts lie in x's memory and their gradients
/// in x's gradient, which is zeroed first: a part that nobody uses gets zero.  Computes nothing, keeps nothing.
/// @param x [..., N D]  @return N values [..., D]
template <int N, Variable X>
auto split(X x) {
  static_assert(N > 0, "split<N>: N must be positive");
  static_assert(X::shape::width % N == 0, "split<N>: the last extent must be a multiple of N");
  constexpr index_t width = X::shape::width / N;
  using Part = with_last<typename X::shape, width>;
  const auto part = [&](std::size_t i) {
    return part_of(x, View<typename X::type, Part>{x.value.data + static_cast<index_t>(i) * width,
                                                   Part{x.value.shape.batch}, x.value.pitch, x.value.stride});
  };
  return [&]<std::size_t... I>(std::index_sequence<I...>) { return std::array{part(I)...}; }
  (std::make_index_sequence<N>{});
}

}  // namespace sra
