// Layers, counted from 1 as in the papers: the residual stream after a block.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <concepts>
#include <cstddef>

namespace sra {

inline constexpr int dynamic_layer = -1;

/// The residual stream after block I, 1-based.  `Layer<8>` is checked by the compiler, `Layer{8}` when the program starts.
template <int I = dynamic_layer>
struct Layer {
  static_assert(I >= 1, "Layer<I>: layers are counted from 1, as in the paper");
  static constexpr int value = I;
  constexpr int index() const { return I; }
};

/// A layer chosen when the program runs.
template <>
struct Layer<dynamic_layer> {
  static constexpr int value = dynamic_layer;
  int i = 0;  ///< 0: none, which every alignment refuses
  constexpr int index() const { return i; }
};
Layer(int)->Layer<dynamic_layer>;

/// `Layer<I>` or `Layer{i}`.
template <class L>
concept LayerLike = requires(const L& l) {
  { l.index() } -> std::convertible_to<int>;
  { L::value } -> std::convertible_to<int>;
};

/// The student's layers that an alignment looks at.
template <std::size_t N>
struct Taps {
  int index[N == 0 ? 1 : N] = {};
  static constexpr std::size_t size = N;
};

/// Makes Taps of layers.
template <LayerLike... L>
constexpr Taps<sizeof...(L)> taps(L... layer) {
  return {{layer.index()...}};
}

}  // namespace sra
