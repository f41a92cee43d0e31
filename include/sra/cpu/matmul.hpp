// Batched matrix products on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/gemm.hpp>
#include <sra/cpu/memory.hpp>

#include <type_traits>

namespace sra::backend {

namespace detail {

/// Sample b of a batch of matrices, or its transpose.
template <bool Transposed, class T, class S>
Matrix<T> matrix_of(View<T, S> v, index_t b) {
  const Matrix<T> m{v.sample(b), S::extent(1), S::extent(2), v.pitch, 1};
  return Transposed ? m.transposed() : m;
}

}  // namespace detail

/// y = a b or y += a b or nothing, sample by sample, a and b each taken as they are or transposed.  One sample alone is
/// shared out among the workers, several are worked on one by each.  Sums as in gemm.
/// @param y [B, M, N]  @param a [B, M, K] or transposed [B, K, M]  @param b [B, K, N] or transposed [B, N, K]
template <bool TransposeA, bool TransposeB, ContextOn<Cpu> C, class T, class S, class A, class SA, class B, class SB>
void batched_product(C& context, Grad<T, S> y, View<A, SA> a, View<B, SB> b) {
  if (!y) return;
  constexpr index_t m = S::extent(1), n = S::extent(2), k = SA::extent(TransposeA ? 1 : 2);
  const index_t samples = y.to.shape.samples();
  const double bytes = double(samples) * double(m * k + k * n + m * n) * sizeof(T);
  launch(context, "batched_product", {bytes, 2.0 * double(samples) * double(m) * double(n) * double(k)}, [&](Cpu& cpu) {
    const auto left = [a](index_t s) { return detail::matrix_of<TransposeA>(a, s); };
    const auto right = [b](index_t s) { return detail::matrix_of<TransposeB>(b, s); };
    const auto to = [y](index_t s) { return detail::matrix_of<false>(y.to, s); };
    if (samples == 1) return gemm(cpu, to(0), left(0), right(0), y.mode);
    const std::size_t workspace =
        gemm_serial_bytes<T, std::remove_const_t<A>, std::remove_const_t<B>>(cpu.isa(), m, n, k);
    cpu.threads().for_each(samples, [&](index_t s, int worker) {
      gemm_serial(cpu.isa(), cpu.scratch(worker, workspace), to(s), left(s), right(s), y.mode);
    });
  });
}

}  // namespace sra::backend
