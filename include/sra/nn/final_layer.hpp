// The last layer: modulated norm and projection to the values of each patch.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/nn/linear.hpp>
#include <sra/ops/norm.hpp>
#include <sra/ops/split.hpp>

namespace sra {

/// y = Linear(norm(x) (1 + scale) + shift); starts at zero.  DiT, arXiv:2212.09748, figure 3.
template <int Hidden, int Out>
struct FinalLayer {
  Linear<Hidden, Out, init::Zero> linear;
  Linear<Hidden, 2 * Hidden, init::Zero> modulation;

  static constexpr void visit(auto& self, auto&& f) {
    f("linear", self.linear);
    f("adaLN_modulation.1", self.modulation);
  }

  /// @param x [B, T, D]  @param s [B, D] silu of the condition  @return [B, T, Out]
  template <Variable X, Variable S>
  auto operator()(X x, S s) const {
    return (*this)(OpenSum<X>(x), s, [](X) {});
  }

  /// The same for a stream whose last sum is left to the norm; on_input is called with it.
  template <Variable X, Variable S, class OnInput>
  auto operator()(const OpenSum<X>& stream, S s, OnInput&& on_input) const {
    const auto [shift, scale] = split<2>(modulation(s));       // each [B, D]
    const auto [x, n] = modulated_norm(stream, shift, scale);  // [B, T, D]
    on_input(x);
    return linear(n);  // [B, T, Out]
  }
};

}  // namespace sra
