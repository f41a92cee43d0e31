// Scaling rows to unit length on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/memory.hpp>
#include <sra/expr/maths.hpp>

#include <algorithm>

namespace sra::backend {

namespace detail {

// The kernel does not know the context, so that traced and untraced passes share their code.
template <class W, class T, class S>
void normalize_rows(Cpu& cpu, View<T, S> y, W* norms, View<T, S> x, W eps) {
  for_rows(cpu, x.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
    for (index_t r = begin; r < end; ++r) {
      W block[lanes], sum[lanes];
      for (index_t j = 0; j < lanes; ++j) sum[j] = 0;
      for (index_t i = 0; i < S::width; i += lanes) {
        load_block(block, x.row(r) + i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) sum[j] += block[j] * block[j];
      }
      norms[r] = maths::sqrt(sum_block(sum));
      const W scale = W(1) / std::max(norms[r], eps);
      for (index_t i = 0; i < S::width; i += lanes) {
        load_block(block, x.row(r) + i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) block[j] *= scale;
        store_block(y.row(r) + i, block, columns_left<S::width>(i));
      }
    }
  });
}

}  // namespace detail

/// y = x / max(|x|, eps) of every row, norms[row] = |x|.  Sums in the wide type: 64 partial sums a row.
template <ContextOn<Cpu> C, class T, class S>
void normalize_forward(C& context, View<T, S> y, typename C::wide* norms, View<T, S> x, double eps) {
  launch(context, "normalize_forward", {2.0 * double(x.shape.size()) * sizeof(T), 0},
         [&](Cpu& cpu) { detail::normalize_rows(cpu, y, norms, x, static_cast<typename C::wide>(eps)); });
}

/// dx = (dy − y Σ y dy) / |x| of every row, dy / eps where |x| < eps.
template <ContextOn<Cpu> C, class T, class S>
void normalize_backward(C& context, View<const T, S> dy, View<T, S> y, const typename C::wide* norms, double eps,
                        Grad<T, S> dx) {
  if (!dx) return;
  using W = typename C::wide;
  const bool add = dx.mode == GradMode::accumulate;
  launch(context, "normalize_backward", {3.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cpu& cpu) {
    for_rows(cpu, y.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r) {
        W u[lanes], d[lanes], sum[lanes];
        for (index_t j = 0; j < lanes; ++j) sum[j] = 0;
        for (index_t i = 0; i < S::width; i += lanes) {
          load_block(u, y.row(r) + i, columns_left<S::width>(i));
          load_block(d, dy.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) sum[j] += u[j] * d[j];
        }
        const bool clamped = norms[r] < static_cast<W>(eps);
        const W along = clamped ? W(0) : sum_block(sum);
        const W scale = W(1) / (clamped ? static_cast<W>(eps) : norms[r]);
        for (index_t i = 0; i < S::width; i += lanes) {
          load_block(u, y.row(r) + i, columns_left<S::width>(i));
          load_block(d, dy.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) d[j] = (d[j] - along * u[j]) * scale;
          if (add)
            accumulate_block(dx.to.row(r) + i, d, columns_left<S::width>(i));
          else
            store_block(dx.to.row(r) + i, d, columns_left<S::width>(i));
        }
      }
    });
  });
}

}  // namespace sra::backend
