// A distance between features, for SRALoss or for an alignment of one's own.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <string>

namespace lab {

/// Relations instead of features: the mean squared difference of the cosines between all pairs of tokens.
struct Gram {
  std::string describe() const { return "Gram"; }
  static sra::Schedule default_weight() { return sra::constant(0.3); }

  /// @param a [B, T, D]  @param b [B, T, D'], D' may differ from D  @return one number
  template <sra::Variable A, sra::Variable B>
  auto operator()(A a, B b) const {
    const auto p = normalize(a), q = normalize(b);           // [B, T, D]
    return mean(square(matmul_nt(p, p) - matmul_nt(q, q)));  // [B, T, T], then [1]
  }
};

}  // namespace lab
