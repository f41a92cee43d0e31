// The transformer block of DiT and SiT.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/checkpoint.hpp>
#include <sra/nn/attention.hpp>
#include <sra/nn/mlp.hpp>
#include <sra/ops/norm.hpp>
#include <sra/ops/split.hpp>

namespace sra {

/// What a block makes of an open sum.
template <Variable X>
struct BlockResult {
  X input;            ///< the sum that the block has closed  [B, T, D]
  OpenSum<X> output;  ///< open again
};

/// DiT block with adaLN-Zero conditioning.  DiT, arXiv:2212.09748, figure 3.
/// @tparam Again what the block makes again for its gradients; Recompute::block is not its own affair, see checkpoint
template <int Hidden, int Heads, int MlpRatio, bool QkNorm = false, Recompute Again = Recompute::none>
struct DiTBlock {
  static_assert(Hidden % Heads == 0, "DiTBlock<Hidden, Heads>: Hidden must be a multiple of Heads");

  Attention<Hidden, Heads, QkNorm> attention;
  Mlp<Hidden, MlpRatio * Hidden> mlp;
  Linear<Hidden, 6 * Hidden, init::Zero> modulation;  // adaLN-Zero: starts as the identity

  static constexpr void visit(auto& self, auto&& f) {
    f("attn", self.attention);
    f("mlp", self.mlp);
    f("adaLN_modulation.1", self.modulation);
  }

  static constexpr bool remakes_norms = Again == Recompute::norm || Again == Recompute::norm_gelu;

  /// @param x [B, T, D] tokens  @param m [B, 6 D] this block's modulation  @param mask NoMask or SameGroup
  /// @param norms memory for a norm's result, which blocks that make norms again may share; none: of their own
  /// @return [B, T, D]
  template <Variable X, Variable M, class Mask = NoMask>
  X operator()(X x, M m, Mask mask = {}, detail::NormView<X> norms = {}) const {
    return (*this)(OpenSum<X>(x), m, mask, norms).output.value();
  }

  /// The same between blocks, each of which leaves the sum at its end to the first norm of the next.
  template <Variable X, Variable M, class Mask = NoMask>
  BlockResult<X> operator()(const OpenSum<X>& stream, M m, Mask mask = {}, detail::NormView<X> norms = {}) const {
    static_assert(X::shape::width == Hidden, "DiTBlock<Hidden, ...>: the width of the tokens must equal Hidden");
    if constexpr (X::context_type::recording && !remakes_norms) norms = {};   // both norms are kept
    const auto [shift1, scale1, gate1, shift2, scale2, gate2] = split<6>(m);  // each [B, D]

    const auto [x, n1] = modulated_norm(stream, shift1, scale1, norm_eps, norms);
    const auto y1 = attention(n1, mask);
    if constexpr (remakes_norms) remake_norm(n1, x, shift1, scale1, norm_eps);

    const auto [sum, n2] = residual_modulated_norm(x, gate1, y1, shift2, scale2, norm_eps, norms);  // x + gate1 y1
    const auto y2 = mlp.template operator()<Again == Recompute::norm_gelu>(n2);
    if constexpr (remakes_norms) remake_norm(n2, sum, shift2, scale2, norm_eps);

    return BlockResult<X>{x, {sum, gate2, y2}};
  }

 private:
  static constexpr float norm_eps = 1e-6f;
};

}  // namespace sra
