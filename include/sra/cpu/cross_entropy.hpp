// The cross-entropy of class scores on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/softmax.hpp>

#include <cmath>
#include <cstdint>

namespace sra::backend {

/// y = log Σ exp(x) − x[label] of every row, logs = log Σ exp(x).  Sums in the wide type: 64 partial sums a row; logarithms in
/// double.
template <ContextOn<Cpu> C, class W, class R, class T, class S>
void cross_entropy_forward(C& context, View<W, R> y, W* logs, View<T, S> x,
                           View<const std::int32_t, Shape<dynamic>> labels) {
  launch(context, "cross_entropy_forward", {double(x.shape.size()) * sizeof(T), 0}, [&](Cpu& cpu) {
    for_rows(cpu, x.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r) {
        const W most = detail::largest<W, S::width>(x.row(r));
        W block[lanes], sum[lanes];
        for (index_t j = 0; j < lanes; ++j) sum[j] = 0;
        for (index_t i = 0; i < S::width; i += lanes) {
          load_block(block, x.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) block[j] = maths::exp(block[j] - most);
          detail::fill_tail(block, columns_left<S::width>(i), W(0));
          for (index_t j = 0; j < lanes; ++j) sum[j] += block[j];
        }
        const double log = std::log(static_cast<double>(sum_block(sum))) + static_cast<double>(most);
        logs[r] = static_cast<W>(log);
        *y.row(r) = static_cast<W>(log - static_cast<double>(number_cast<W>(x.row(r)[labels.data[r]])));
      }
    });
  });
}

/// dx = dy (exp(x − logs) − [j = label]) of every row.
template <ContextOn<Cpu> C, class W, class R, class T, class S>
void cross_entropy_backward(C& context, View<const W, R> dy, const W* logs, View<T, S> x,
                            View<const std::int32_t, Shape<dynamic>> labels, Grad<T, S> dx) {
  if (!dx) return;
  const bool add = dx.mode == GradMode::accumulate;
  launch(context, "cross_entropy_backward", {2.0 * double(x.shape.size()) * sizeof(T), 0}, [&](Cpu& cpu) {
    for_rows(cpu, x.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r) {
        const W slope = *dy.row(r), log = logs[r];
        for (index_t i = 0; i < S::width; i += lanes) {
          W p[lanes];
          load_block(p, x.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) p[j] = maths::exp(p[j] - log);
          const index_t here = labels.data[r] - i;
          if (here >= 0 && here < lanes) p[here] -= W(1);
          for (index_t j = 0; j < lanes; ++j) p[j] *= slope;
          if (add)
            accumulate_block(dx.to.row(r) + i, p, columns_left<S::width>(i));
          else
            store_block(dx.to.row(r) + i, p, columns_left<S::width>(i));
        }
      }
    });
  });
}

}  // namespace sra::backend
