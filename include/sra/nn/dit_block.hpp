// The transformer block of DiT and SiT.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/nn/attention.hpp>
#include <sra/nn/mlp.hpp>
#include <sra/ops/norm.hpp>
#include <sra/ops/split.hpp>

namespace sra {

/// DiT block with adaLN-Zero conditioning.  DiT, arXiv:2212.09748, figure 3.
template <int Hidden, int Heads, int MlpRatio, bool QkNorm = false>
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

  /// @param x [B, T, D] tokens  @param m [B, 6 D] this block's modulation  @param mask NoMask or SameGroup  @return [B, T, D]
  template <Variable X, Variable M, class Mask = NoMask>
  X operator()(X x, M m, Mask mask = {}) const {
    static_assert(X::shape::width == Hidden, "DiTBlock<Hidden, ...>: the width of the tokens must equal Hidden");
    const auto [shift1, scale1, gate1, shift2, scale2, gate2] = split<6>(m);     // each [B, D]
    const X y = attention(modulated_norm(x, shift1, scale1), mask);              // [B, T, D]
    const auto [sum, n] = residual_modulated_norm(x, gate1, y, shift2, scale2);  // x + gate1 y and its norm
    return sum + gate2 * mlp(n);
  }
};

}  // namespace sra
