// The projection head between the student's features and the teacher's.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/nn/linear.hpp>

namespace sra {

/// Linear(D → 2D), SiLU, Linear(2D → D), per token.   SRA, arXiv:2505.02831, §3.2.
template <int Hidden>
struct AlignHead {
  Linear<Hidden, 2 * Hidden> linear1;
  Linear<2 * Hidden, Hidden> linear2;

  static constexpr void visit(auto& self, auto&& f) {
    f("linear1", self.linear1);
    f("linear2", self.linear2);
  }

  /// @param x [B, T, D]  @return [B, T, D]
  template <Variable X>
  auto operator()(X x) const {
    return linear2(silu(linear1(x)));
  }
};

}  // namespace sra
