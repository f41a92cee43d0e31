// Batched matrix products on the GPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/linear.cuh>

namespace sra::gpu {

/// y = a b or y += a b or nothing, sample by sample, a and b each taken as they are or transposed.  Sums in float.
/// @param y [B, M, N]  @param a [B, M, K] or transposed [B, K, M]  @param b [B, K, N] or transposed [B, N, K]
template <bool TransposeA, bool TransposeB, ContextOn<Cuda> C, class T, class S, class A, class SA, class B, class SB>
void batched_product(C& context, Grad<T, S> y, View<A, SA> a, View<B, SB> b) {
  if (!y) return;
  constexpr index_t m = S::extent(1), n = S::extent(2), k = SA::extent(TransposeA ? 1 : 2);
  const index_t samples = y.to.shape.samples();
  const double bytes = double(samples) * double(m * k + k * n + m * n) * sizeof(T);
  // A matrix of rows is its transpose in columns: yᵀ = bᵀ aᵀ.
  const auto matrix = [](const auto& v) {
    using V = std::remove_cvref_t<decltype(v)>;
    return detail::ProductMatrix{detail::number_of<typename V::type>, V::shape_type::extent(2),
                                 V::shape_type::extent(1), v.pitch, v.stride};
  };
  const detail::ProductKey key{.transpose_a = TransposeB,
                               .transpose_b = TransposeA,
                               .accumulate = y.mode == GradMode::accumulate,
                               .a = matrix(b),
                               .b = matrix(a),
                               .c = matrix(y.to),
                               .batch = samples};
  const detail::ProductOperands o{.a = b.data, .b = a.data, .c = y.to.data};
  launch(context, "batched_product", {bytes, 2.0 * double(samples) * double(m) * double(n) * double(k)},
         [&](Cuda& cuda) { cuda.products().run(key, o); });
}

}  // namespace sra::gpu
