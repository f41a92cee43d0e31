// What operands and gradients of fused kernels occupy in memory: the bytes that a launch says it moves.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/expr/pointwise.hpp>

#include <type_traits>

namespace sra::detail {

template <class V>
double view_bytes(const V& view) {
  return double(view.shape.size()) * sizeof(*view.data);
}
/// Of an operand; a constant has none.
template <class L>
double leaf_bytes(const L& leaf) {
  if constexpr (std::is_same_v<L, ConstantView>)
    return 0;
  else
    return view_bytes(leaf.view);
}
/// What writing a gradient, or adding to it, moves.
template <class G>
double grad_bytes(const G& grad) {
  if constexpr (std::is_same_v<G, NoGrad>)
    return 0;
  else
    return grad ? view_bytes(grad.to) * (grad.mode == GradMode::accumulate ? 2 : 1) : 0;
}

}  // namespace sra::detail
