// Layer norms on the CPU, forward and backward, one pass over the rows each way.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/pointwise.hpp>

#include <algorithm>
#include <cmath>

namespace sra::backend {

namespace detail {

template <class T, class TX, class S, class W, class Shift, class Scale>
void norm_rows(Cpu& cpu, View<T, S> y, W* stats, View<TX, S> x, Shift shift, Scale scale, float one, float eps,
               sra::detail::BranchView<T, TX, S, Scale> branch) {
  for_rows(cpu, x.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const index_t b = row / S::sample_rows, r = row % S::sample_rows;
      if (branch)
        for (index_t i = 0; i < S::width; i += lanes) {
          W from[lanes], gate[lanes], added[lanes];
          load_block(from, branch.from.row(b, r) + i, columns_left<S::width>(i));
          load_leaf(gate, branch.gate, b, r, i, columns_left<S::width>(i));
          load_block(added, branch.y.row(b, r) + i, columns_left<S::width>(i));
          // Two statements, as in an expression, for the same bits: clang++ contracts within one, g++ across both.
          for (index_t j = 0; j < lanes; ++j) {
            const W product = gate[j] * added[j];
            from[j] += product;
          }
          store_block(x.row(b, r) + i, from, columns_left<S::width>(i));
        }
      const TX* in = x.row(b, r);
      W sum[lanes] = {}, block[lanes];
      for (index_t i = 0; i < S::width; i += lanes) {
        load_block(block, in + i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) sum[j] += block[j];
      }
      const W mean = sum_block(sum) / W(S::width);
      W squares[lanes] = {};
      for (index_t i = 0; i < S::width; i += lanes) {
        load_block(block, in + i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) block[j] -= mean;
        for (index_t j = std::max<index_t>(0, S::width - i); j < lanes; ++j) block[j] = 0;
        for (index_t j = 0; j < lanes; ++j) squares[j] += block[j] * block[j];
      }
      const W rstd = W(1) / std::sqrt(sum_block(squares) / W(S::width) + W(eps));
      stats[2 * row] = mean;
      stats[2 * row + 1] = rstd;
      for (index_t i = 0; i < S::width; i += lanes) {
        W a[lanes], s[lanes];
        load_block(block, in + i, columns_left<S::width>(i));
        load_leaf(a, scale, b, r, i, columns_left<S::width>(i));
        load_leaf(s, shift, b, r, i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) block[j] = (block[j] - mean) * rstd * (W(one) + a[j]) + s[j];
        store_block(y.row(b, r) + i, block, columns_left<S::width>(i));
      }
    }
  });
}

}  // namespace detail

/// y = (x − mean) rstd (one + scale) + shift, where x = from + gate branch is computed first if there is a branch.  Reads 1
/// (with a branch 2), writes 1 (2) [B, T, D].
/// @param stats [rows, 2]: mean and rstd  @param one 1: scale is an offset (adaLN), 0: it is the factor itself
template <ContextOn<Cpu> C, class T, class TX, class S, class W, class Shift, class Scale>
void norm_forward(C& context, View<T, S> y, W* stats, View<TX, S> x, Shift shift, Scale scale, float one, float eps,
                  sra::detail::BranchView<T, TX, S, Scale> branch = {}) {
  const double bytes = branch ? 2.0 * (sizeof(TX) + sizeof(T)) : sizeof(TX) + sizeof(T);
  launch(context, "norm_forward", {bytes * double(x.shape.size()), 0},
         [&](Cpu& cpu) { detail::norm_rows(cpu, y, stats, x, shift, scale, one, eps, branch); });
}

namespace detail {

template <class S>
index_t norm_samples_per_task(bool shared) {
  return shared ? std::max<index_t>(1, 512 / S::sample_rows) : 1;
}

/// dx of one row, given the sums a of dn and c of dn n.
template <class T, class TX, class S, class W, class Scale, class DX>
[[gnu::always_inline]] inline void norm_row_backward(const DX& dx, const T* up, const TX* in, const Scale& scale,
                                                     index_t b, index_t r, W mean, W rstd, W one, W a, W c) {
  for (index_t i = 0; i < S::width; i += lanes) {
    W dy[lanes], x[lanes], k[lanes];
    load_block(dy, up + i, columns_left<S::width>(i));
    load_block(x, in + i, columns_left<S::width>(i));
    load_leaf(k, scale, b, r, i, columns_left<S::width>(i));
    for (index_t j = 0; j < lanes; ++j) {
      const W n = (x[j] - mean) * rstd;
      dy[j] = rstd * (dy[j] * (one + k[j]) - a - n * c);
    }
    if (dx.mode == GradMode::accumulate)
      accumulate_block(dx.to.row(b, r) + i, dy, columns_left<S::width>(i));
    else
      store_block(dx.to.row(b, r) + i, dy, columns_left<S::width>(i));
  }
}

/// The row's gradients of gate and branch, given that of x: dbranch = gate dx, and the sums of dx branch.
template <class T, class TX, class S, class W, class Scale>
[[gnu::always_inline]] inline void branch_row_backward(const sra::detail::BranchView<T, TX, S, Scale>& branch,
                                                       const Grad<T, S>& dbranch, const TX* dx, index_t b, index_t r,
                                                       W* sums) {
  for (index_t i = 0; i < S::width; i += lanes) {
    W up[lanes], gate[lanes], added[lanes];
    load_block(up, dx + i, columns_left<S::width>(i));
    load_leaf(gate, branch.gate, b, r, i, columns_left<S::width>(i));
    load_block(added, branch.y.row(b, r) + i, columns_left<S::width>(i));
    for (index_t j = 0; j < lanes; ++j) gate[j] *= up[j];
    for (index_t j = 0; j < lanes; ++j) added[j] *= up[j];
    accumulate_block(sums + i, added, columns_left<S::width>(i));
    if (!dbranch) continue;
    if (dbranch.mode == GradMode::accumulate)
      accumulate_block(dbranch.to.row(b, r) + i, gate, columns_left<S::width>(i));
    else
      store_block(dbranch.to.row(b, r) + i, gate, columns_left<S::width>(i));
  }
}

}  // namespace detail

/// Gradients of norm_forward.  With n = (x − mean) rstd and dn = dy (one + scale): dx = rstd (dn − mean(dn) − n mean(dn n)),
/// dshift = Σ dy, dscale = Σ dy n over the rows that share them: a sample's tokens in order; for [D], chunks of about 512 rows
/// in order, then the chunks in order in double.  With a branch, from dx, which then holds all of x's gradient: dbranch = gate
/// dx, dgate = Σ dx branch.  Reads 2 (with a branch 3), writes 1 (2) [B, T, D].
template <ContextOn<Cpu> C, class T, class TX, class S, class W, class Scale, class DX, class DShift, class DScale>
void norm_backward(C& context, View<const T, S> dy, const W* stats, View<TX, S> x, Scale scale, float one, DX dx,
                   DShift dshift, DScale dscale, sra::detail::BranchView<T, TX, S, Scale> branch = {},
                   Grad<T, S> dbranch = {}, DScale dgate = {}) {
  constexpr bool shared = Scale::broadcast == Broadcast::row;
  constexpr index_t D = S::width,
                    groups = Scale::broadcast == Broadcast::grouped ? decltype(dscale.to)::shape_type::sample_rows : 1,
                    kinds = 3;  // of sums: dshift, dscale, dgate
  const index_t per_task = detail::norm_samples_per_task<S>(shared);
  const index_t tasks = (x.shape.samples() + per_task - 1) / per_task;
  W* sums = context.template take<W>(std::max<index_t>(1, tasks) * groups * kinds * D);
  const double bytes = sizeof(T) + 2.0 * sizeof(TX) + (dx.mode == GradMode::accumulate ? sizeof(TX) : 0) +
                       (branch ? 2.0 * sizeof(T) : 0.0);
  launch(context, "norm_backward", {bytes * double(x.shape.size()), 0}, [&](Cpu& cpu) {
    const index_t samples = x.shape.samples();
    for_tasks(cpu, tasks, [=](index_t begin, index_t end, int) {
      for (index_t task = begin; task < end; ++task) {
        W* mine = sums + task * groups * kinds * D;
        for (index_t i = 0; i < groups * kinds * D; ++i) mine[i] = 0;
        for (index_t b = task * per_task; b < std::min(samples, (task + 1) * per_task); ++b)
          for (index_t r = 0; r < S::sample_rows; ++r) {
            const index_t row = b * S::sample_rows + r;
            const W mean = stats[2 * row], rstd = stats[2 * row + 1];
            W* to = mine;
            if constexpr (Scale::broadcast == Broadcast::grouped) to += scale.group.row(b, 0)[r] * kinds * D;
            W a[lanes] = {}, c[lanes] = {};
            for (index_t i = 0; i < D; i += lanes) {
              W up[lanes], n[lanes], k[lanes], product[lanes];
              load_block(up, dy.row(b, r) + i, columns_left<D>(i));
              load_block(n, x.row(b, r) + i, columns_left<D>(i));
              detail::load_leaf(k, scale, b, r, i, columns_left<D>(i));
              for (index_t j = 0; j < lanes; ++j) {
                n[j] = (n[j] - mean) * rstd;
                product[j] = up[j] * n[j];
                const W dn = up[j] * (W(one) + k[j]);
                a[j] += dn;
                c[j] += dn * n[j];
              }
              accumulate_block(to + i, up, columns_left<D>(i));
              accumulate_block(to + D + i, product, columns_left<D>(i));
            }
            if (dx)
              detail::norm_row_backward<T, TX, S>(dx, dy.row(b, r), x.row(b, r), scale, b, r, mean, rstd, W(one),
                                                  sum_block(a) / W(D), sum_block(c) / W(D));
            if (branch) detail::branch_row_backward(branch, dbranch, dx.to.row(b, r), b, r, to + 2 * D);
          }
      }
    });
    const auto put = [&](const auto& grad, index_t which) {
      if (!grad) return;
      const bool add = grad.mode == GradMode::accumulate;
      using G = typename std::remove_cvref_t<decltype(grad.to)>::type;
      if constexpr (shared) {
        for (index_t i = 0; i < D; ++i) {
          double sum = add ? static_cast<double>(grad.to.data[i]) : 0;
          for (index_t t = 0; t < tasks; ++t) sum += static_cast<double>(sums[(t * kinds + which) * D + i]);
          grad.to.data[i] = static_cast<G>(sum);
        }
      } else {
        for (index_t b = 0; b < samples; ++b)
          for (index_t g = 0; g < groups; ++g) {
            G* to = groups == 1 ? grad.to.sample(b) : grad.to.row(b, g);
            const W* from = sums + ((b * groups + g) * kinds + which) * D;
            for (index_t i = 0; i < D; ++i) to[i] = static_cast<G>(add ? static_cast<W>(to[i]) + from[i] : from[i]);
          }
      }
    };
    put(dshift, 0);
    put(dscale, 1);
    if (branch) put(dgate, 2);
  });
}

}  // namespace sra::backend
