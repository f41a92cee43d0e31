// What operands and gradients of kernels occupy in memory: the bytes that a launch says it moves.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/launch.hpp>
#include <sra/expr/pointwise.hpp>

#include <cstddef>
#include <type_traits>
#include <utility>

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

/// Of `rows` by `in` by `out` multiply-adds that move so many bytes.
inline Cost product_cost(index_t rows, index_t in, index_t out, double bytes) {
  return {bytes, 2.0 * double(rows) * double(in) * double(out)};
}

/// Whether the derivative of F by its operand number `by` reads the value of its operand `of`.
template <class F>
constexpr bool derivative_reads(std::size_t by, std::size_t of) {
  if constexpr (std::is_same_v<F, Add> || std::is_same_v<F, Subtract> || std::is_same_v<F, Negate>)
    return false;
  else if constexpr (std::is_same_v<F, Multiply>)
    return by != of;
  else
    return true;
}

/// What the backward pass of a tree reads: compilers drop loads of what no wanted gradient depends on.
template <class Tree>
struct PullReads;
template <int I>
struct PullReads<Operand<I>> {
  static constexpr bool has(int leaf) { return leaf == I; }
  static constexpr bool any(const auto& wanted) { return wanted(I); }
  static constexpr bool value(int, const auto&) { return false; }
};
template <class F, class... A>
struct PullReads<Apply<F, A...>> {
  /// Whether a leaf is one of the tree's.
  static constexpr bool has(int leaf) { return (PullReads<A>::has(leaf) || ...); }
  /// Whether the gradient of any of its leaves is wanted.
  static constexpr bool any(const auto& wanted) { return (PullReads<A>::any(wanted) || ...); }
  /// Whether a leaf's value is read for the gradients of those that are wanted.
  static constexpr bool value(int leaf, const auto& wanted) {
    const bool into[] = {PullReads<A>::any(wanted)...}, within[] = {PullReads<A>::has(leaf)...};
    bool reads = (PullReads<A>::value(leaf, wanted) || ...);
    for (std::size_t by = 0; by < sizeof...(A); ++by)
      for (std::size_t of = 0; of < sizeof...(A); ++of)
        reads = reads || (into[by] && within[of] && derivative_reads<F>(by, of));
    return reads;
  }
};

/// Bytes of the leaves whose values are read for wanted gradients.  @param wanted whether that of leaf number i is
template <class Tree, class... L>
double pulled_bytes(const Pack<L...>& leaves, const auto& wanted) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    return (0.0 + ... + (PullReads<Tree>::value(static_cast<int>(I), wanted) ? leaf_bytes(get<I>(leaves)) : 0.0));
  }
  (std::index_sequence_for<L...>{});
}

}  // namespace sra::detail
