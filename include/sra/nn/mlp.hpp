// The feed-forward half of a transformer block.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/nn/linear.hpp>

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

  /// @param x [B, T, D]  @return [B, T, D]
  template <Variable X>
  X operator()(X x) const {
    return fc2(fc1.gelu(x));
  }
};

}  // namespace sra
