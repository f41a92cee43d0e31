// Products of two batches of matrices.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/ops/same_batch.hpp>

namespace sra {

/// y = a b for every sample.  da = dy bᵀ, db = aᵀ dy.  Keeps a and b.
/// @param a [B, M, K]  @param b [B, K, N]  @return [B, M, N]
template <Variable A, Variable B>
auto matmul(A a, B b) {
  using SA = typename A::shape;
  using SB = typename B::shape;
  static_assert(SA::rank == 3 && SA::batched, "matmul: a must be [B, M, K]");
  static_assert(SB::rank == 3 && SB::batched, "matmul: b must be [B, K, N]");
  static_assert(SA::width == SB::extent(1), "matmul: a [B, M, K] must have as many columns as b [B, K, N] has rows");
  detail::expect_same_batch("matmul", a, b);
  using Product = with_last<SA, SB::width>;
  auto y = make<typename A::type>(a.context(), Product{a.batch()});
  batched_product<false, false>(a.context(), Grad<typename A::type, Product>{y.value, GradMode::overwrite}, a.value,
                                b.value);
  return record(y, [=](auto& context, auto dy) {
    batched_product<false, true>(context, a.grad(), dy, b.value);
    batched_product<true, false>(context, b.grad(), a.value, dy);
  });
}

/// y = a bᵀ for every sample: all dot products of rows of a with rows of b.  da = dy b, db = dyᵀ a.  Keeps a and b.
/// @param a [B, M, K]  @param b [B, N, K]  @return [B, M, N]
template <Variable A, Variable B>
auto matmul_nt(A a, B b) {
  using SA = typename A::shape;
  using SB = typename B::shape;
  static_assert(SA::rank == 3 && SA::batched, "matmul_nt: a must be [B, M, K]");
  static_assert(SB::rank == 3 && SB::batched, "matmul_nt: b must be [B, N, K]");
  static_assert(SA::width == SB::width, "matmul_nt: a [B, M, K] and b [B, N, K] must have the same width");
  detail::expect_same_batch("matmul_nt", a, b);
  using Product = with_last<SA, SB::extent(1)>;
  auto y = make<typename A::type>(a.context(), Product{a.batch()});
  batched_product<false, true>(a.context(), Grad<typename A::type, Product>{y.value, GradMode::overwrite}, a.value,
                               b.value);
  return record(y, [=](auto& context, auto dy) {
    batched_product<false, false>(context, a.grad(), dy, b.value);
    batched_product<true, false>(context, b.grad(), dy, a.value);
  });
}

}  // namespace sra
