// Distances between features, as alignments use them.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/core/schedule.hpp>
#include <sra/ops/distance.hpp>
#include <sra/ops/reduce.hpp>

#include <concepts>
#include <string>

namespace sra {

/// 1 − cos of each token's features, averaged.  The paper's form, and REPA's (arXiv:2410.06940).
struct Cosine {
  std::string describe() const { return "Cosine"; }
  static Schedule default_weight() { return constant(0.5); }
  /// @param a, b [B, T, D]  @return one number
  template <Variable A, Variable B>
  auto operator()(A a, B b) const {
    return mean(cosine_features(a, b));
  }
};

/// 1 − cos over the tokens of each channel, averaged: what the released code of arXiv:2505.02831 computes by default.
struct TokenCosine {
  std::string describe() const { return "TokenCosine"; }
  static Schedule default_weight() { return constant(0.5); }
  /// @param a, b [B, T, D]  @return one number
  template <Variable A, Variable B>
  auto operator()(A a, B b) const {
    return mean(cosine_tokens(a, b));
  }
};

/// Smooth L1 with threshold beta: d²/(2β) if |d| < β, else |d| − β/2, averaged over all elements.   Girshick 2015, arXiv:1504.08083.
struct SmoothL1 {
  float beta = 0.05f;  ///< > 0
  std::string describe() const { return text("SmoothL1 beta ", beta); }
  void check() const {
    if (!(beta > 0)) throw Error(text("SmoothL1: beta: expected a number > 0, got ", beta));
  }
  static Schedule default_weight() { return authors_256(); }
  /// @param a, b [B, T, D]  @return one number
  template <Variable A, Variable B>
  auto operator()(A a, B b) const {
    return mean(map<SmoothAbs>(a - b, static_cast<double>(beta)));
  }
};

/// Mean |d|.
struct L1 {
  std::string describe() const { return "L1"; }
  static Schedule default_weight() { return authors_256(); }
  /// @param a, b [B, T, D]  @return one number
  template <Variable A, Variable B>
  auto operator()(A a, B b) const {
    return mean(abs(a - b));
  }
};

/// Mean d².
struct L2 {
  std::string describe() const { return "L2"; }
  static Schedule default_weight() { return authors_256(); }
  /// @param a, b [B, T, D]  @return one number
  template <Variable A, Variable B>
  auto operator()(A a, B b) const {
    return mean(square(a - b));
  }
};

/// A distance: a default-constructible object with operator()(a, b) for values of one shape [B, T, D], which returns one
/// number, and default_weight(); describe() and check(), which throws, if it has settings.
template <class D>
concept Distance = std::default_initializable<D> && requires {
  { D::default_weight() } -> std::convertible_to<Schedule>;
};

}  // namespace sra
