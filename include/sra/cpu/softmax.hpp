// Softmax over rows on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/memory.hpp>
#include <sra/expr/maths.hpp>

#include <limits>

namespace sra::backend {

namespace detail {

/// block[i] = value for i >= count: what the columns behind a row's end count as.
template <class W>
[[gnu::always_inline]] inline void fill_tail(W (&block)[lanes], index_t count, W value) {
  for (index_t i = count; i < lanes; ++i) block[i] = value;
}

template <class W, index_t Width, class T>
[[gnu::always_inline]] inline W largest(const T* x) {
  W most[lanes], block[lanes];
  for (index_t i = 0; i < lanes; ++i) most[i] = -std::numeric_limits<W>::infinity();
  for (index_t i = 0; i < Width; i += lanes) {
    load_block(block, x + i, columns_left<Width>(i));
    fill_tail(block, columns_left<Width>(i), -std::numeric_limits<W>::infinity());
    for (index_t j = 0; j < lanes; ++j) most[j] = maths::select(most[j] < block[j], block[j], most[j]);
  }
  for (index_t step = lanes / 2; step > 0; step /= 2)
    for (index_t j = 0; j < step; ++j) most[j] = maths::select(most[j] < most[j + step], most[j + step], most[j]);
  return most[0];
}

// The kernels do not know the context, so that traced and untraced passes share their code.

template <class T, class S>
void softmax_rows(Cpu& cpu, View<T, S> y, View<T, S> x) {
  using W = wide_t<T>;
  for_rows(cpu, x.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
    for (index_t r = begin; r < end; ++r) {
      const T* from = x.row(r);
      T* to = y.row(r);
      const W most = largest<W, S::width>(from);
      W block[lanes], sum[lanes];
      for (index_t j = 0; j < lanes; ++j) sum[j] = 0;
      for (index_t i = 0; i < S::width; i += lanes) {
        load_block(block, from + i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) block[j] = maths::exp(block[j] - most);
        fill_tail(block, columns_left<S::width>(i), W(0));
        for (index_t j = 0; j < lanes; ++j) sum[j] += block[j];
        store_block(to + i, block, columns_left<S::width>(i));
      }
      const W scale = W(1) / sum_block(sum);
      for (index_t i = 0; i < S::width; i += lanes) {
        load_block(block, to + i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) block[j] *= scale;
        store_block(to + i, block, columns_left<S::width>(i));
      }
    }
  });
}

}  // namespace detail

/// y = softmax(x) of every row.  Sums in the wide type: 64 partial sums a row.
template <ContextOn<Cpu> C, class T, class S>
void softmax_forward(C& context, View<T, S> y, View<T, S> x) {
  launch(context, "softmax_forward", {2.0 * double(x.shape.size()) * sizeof(T), 0},
         [&](Cpu& cpu) { detail::softmax_rows(cpu, y, x); });
}

/// dx = y (dy − Σ y dy) of every row.
template <ContextOn<Cpu> C, class T, class S>
void softmax_backward(C& context, View<const T, S> dy, View<T, S> y, Grad<T, S> dx) {
  if (!dx) return;
  using W = typename C::wide;
  const bool add = dx.mode == GradMode::accumulate;
  launch(context, "softmax_backward", {3.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cpu& cpu) {
    for_rows(cpu, y.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r) {
        W p[lanes], d[lanes], sum[lanes];
        for (index_t j = 0; j < lanes; ++j) sum[j] = 0;
        for (index_t i = 0; i < S::width; i += lanes) {
          load_block(p, y.row(r) + i, columns_left<S::width>(i));
          load_block(d, dy.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) sum[j] += p[j] * d[j];
        }
        const W dot = sum_block(sum);
        for (index_t i = 0; i < S::width; i += lanes) {
          load_block(p, y.row(r) + i, columns_left<S::width>(i));
          load_block(d, dy.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) d[j] = p[j] * (d[j] - dot);
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
