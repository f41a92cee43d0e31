// Operands of fused kernels as threads read them: vectors of a row, whatever the operand's broadcast.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/kernel.cuh>
#include <sra/expr/bytes.hpp>
#include <sra/expr/leaf.hpp>
#include <sra/expr/pointwise.hpp>

#include <type_traits>

namespace sra::gpu {

using sra::detail::BranchView;
using sra::detail::ConstantView;
using sra::detail::grad_bytes;
using sra::detail::leaf_bytes;
using sra::detail::LeafView;
using sra::detail::NoGrad;
using sra::detail::product_cost;
using sra::detail::pulled_bytes;
using sra::detail::view_bytes;

/// Columns [i, i + N) of the leaf's row for row r of sample b.
template <int N, class W, class L>
SRA_DEVICE void load_leaf(W (&to)[N], const L& leaf, index_t b, index_t r, index_t i) {
  if constexpr (std::is_same_v<L, ConstantView>) {
    for (int j = 0; j < N; ++j) to[j] = static_cast<W>(leaf.value);
  } else if constexpr (L::single) {
    const W x = number_cast<W>(*leaf.row(b, r));
    for (int j = 0; j < N; ++j) to[j] = x;
  } else {
    load(to, leaf.row(b, r) + i);
  }
}

template <int N>
bool takes_vectors(const ConstantView&) {
  return true;
}
template <int N, Broadcast B, class T, class S, class M>
bool takes_vectors(const LeafView<B, T, S, M>& leaf) {
  return LeafView<B, T, S, M>::single || takes_vectors<N>(leaf.view);
}
template <int N, class T, class From, class S, class Gate>
bool takes_vectors(const BranchView<T, From, S, Gate>& branch) {
  return !branch || (takes_vectors<N>(branch.y) && takes_vectors<N>(branch.from) && takes_vectors<N>(branch.gate));
}
template <int N>
bool takes_vectors(const NoGrad&) {
  return true;
}
template <int N, class T, class S>
bool takes_vectors(const Grad<T, S>& grad) {
  return !grad || S::width == 1 || takes_vectors<N>(grad.to);
}

/// Calls f.template operator()<N>() with N = Most if rows of S and all these operands may be read in vectors of that many
/// numbers, else with N = 1.  What an operand is, takes_vectors<N>(operand) says.
template <int Most, class S, class F, class... Operand>
void with_vectors(const F& f, const Operand&... operand) {
  if constexpr (S::width % Most == 0)
    if ((takes_vectors<Most>(operand) && ...)) return f.template operator()<Most>();
  f.template operator()<1>();
}

}  // namespace sra::gpu
