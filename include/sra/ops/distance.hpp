// Cosine distances between two sequences of features: over the features of a token, or over the tokens of a feature.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/ops/same_batch.hpp>

#include <type_traits>

namespace sra {

namespace detail {

template <bool OverTokens, Variable A, Variable B>
auto cosine(A a, B b, double eps) {
  using S = typename A::shape;
  using Wide = typename A::context_type::wide;
  auto y = make<Wide>(a.context(), Shape<dynamic>{a.batch()});
  Wide* stats = a.context().template take<Wide>(3 * a.batch() * (OverTokens ? S::width : S::sample_rows));
  cosine_forward<OverTokens>(a.context(), y.value, stats, a.value, b.value, eps);
  return record(y, [=](auto& context, auto dy) {
    const auto da = a.grad();
    const auto db = b.grad();
    cosine_backward<OverTokens>(context, dy, stats, a.value, b.value, eps, da, db);
  });
}

}  // namespace detail

/// 1 − cos(a, b) over the features of every token, its mean over the tokens: y = 1 − 1/T Σ_t a_t·b_t / (n(a_t) n(b_t)),
/// n(x) = max(|x|, eps).  The gradient is that of cosine_tokens.  Keeps a, b and three wide numbers a token.
/// SRA, arXiv:2505.02831, in the paper's form.
/// @param a, b [B, T, D]  @return [B] wide
template <Variable A, Variable B>
auto cosine_features(A a, B b, double eps = 1e-8) {
  static_assert(A::shape::rank == 3 && A::shape::batched, "cosine_features: a and b must be [B, T, D]");
  static_assert(std::is_same_v<typename A::shape, typename B::shape>, "cosine_features: a and b must have one shape");
  detail::expect_same_batch("cosine_features", a, b);
  return detail::cosine<false>(a, b, eps);
}

/// 1 − cos(a, b) over the tokens of every feature, its mean over the features: norms and products run over t, as in the
/// authors' code of SRA, arXiv:2505.02831 (their library's cosine similarity with its default axis).  With n(x) =
/// max(|x|, eps) and c = a·b / (n(a) n(b)), dc/da = b / (n(a) n(b)) − c / n(a) · a / |a|: as there, the derivative does
/// not see the bound eps; the second term is 0 for a = 0.  Keeps a, b and three wide numbers a feature.
/// @param a, b [B, T, D]  @return [B] wide
template <Variable A, Variable B>
auto cosine_tokens(A a, B b, double eps = 1e-8) {
  static_assert(A::shape::rank == 3 && A::shape::batched, "cosine_tokens: a and b must be [B, T, D]");
  static_assert(std::is_same_v<typename A::shape, typename B::shape>, "cosine_tokens: a and b must have one shape");
  detail::expect_same_batch("cosine_tokens", a, b);
  return detail::cosine<true>(a, b, eps);
}

}  // namespace sra
