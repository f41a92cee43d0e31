// The feed-forward half of a transformer block.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/nn/linear.hpp>
#include <sra/ops/feed_forward.hpp>

namespace sra {

/// fc2(gelu(fc1(x))), tanh GELU.
template <int Width, int Hidden>
struct Mlp {
  Linear<Width, Hidden> fc1;
  Linear<Hidden, Width> fc2;

  static constexpr void visit(auto& self, auto&& f) {
    f("fc1", self.fc1);
    f("fc2", self.fc2);
  }

  /// @tparam Remake see feed_forward  @param x [B, T, D]  @return [B, T, D]
  template <bool Remake = false, Variable X>
  auto operator()(X x) const {
    auto& c = x.context();
    return feed_forward<Remake>(x, weight(c, fc1.weight), leaf(c, fc1.bias), weight(c, fc2.weight), leaf(c, fc2.bias));
  }
};

}  // namespace sra
