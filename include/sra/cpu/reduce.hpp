// Sums of pointwise expressions on the CPU: evaluated block by block, never stored.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/pointwise.hpp>

#include <algorithm>

namespace sra::backend {

namespace detail {

/// Columns [i, i + lanes) of a tree for row r of sample b, zero from `count` on.
template <class Tree, class W, class... L>
[[gnu::always_inline]] inline void evaluate_block(W (&block)[lanes], const Pack<L...>& leaves, index_t b, index_t r,
                                                  index_t i, index_t count) {
  W in[sizeof...(L)][lanes];
  leaves.apply([&](const auto&... l) {
    int k = 0;
    (load_leaf(in[k++], l, b, r, i, count), ...);
  });
  for (int j = 0; j < lanes; ++j) block[j] = Tree::value(in, j);
  for (index_t j = count; j < lanes; ++j) block[j] = 0;
}

/// The sum of every row: in W over pieces of 4096 columns, in double across them.
template <class Tree, class W, class S, class Geometry, class... L>
void sum_rows(Cpu& cpu, double* sums, const Geometry& g, const Pack<L...>& leaves) {
  for_tasks_of<S>(cpu, g.samples * g.rows(), rows_per_task(g.columns()), [=](index_t begin, index_t end, int) {
    constexpr index_t piece = 64 * lanes;
    for (index_t row = begin; row < end; ++row) {
      double total = 0;
      for (index_t first = 0; first < g.columns(); first += piece) {
        W sum[lanes], block[lanes];
        for (index_t j = 0; j < lanes; ++j) sum[j] = 0;
        for (index_t i = first; i < std::min(g.columns(), first + piece); i += lanes) {
          evaluate_block<Tree>(block, leaves, row / g.rows(), row % g.rows(), i, g.left(i));
          for (index_t j = 0; j < lanes; ++j) sum[j] += block[j];
        }
        total += static_cast<double>(sum_block(sum));
      }
      sums[row] = total;
    }
  });
}

/// y = scale times the sum over every sample's rows, column by column, in double.
template <class Tree, class W, class S, class T, class R, class... L>
void sum_tokens(Cpu& cpu, View<T, R> y, double scale, const Pack<L...>& leaves) {
  constexpr index_t blocks = (S::width + lanes - 1) / lanes, grain = std::max<index_t>(1, 256 / S::sample_rows);
  for_rows(cpu, y.shape.samples() * blocks, grain, [=](index_t begin, index_t end, int) {
    for (index_t task = begin; task < end; ++task) {
      const index_t b = task / blocks, i = task % blocks * lanes;
      W block[lanes];
      double total[lanes];
      for (index_t j = 0; j < lanes; ++j) total[j] = 0;
      for (index_t r = 0; r < S::sample_rows; ++r) {
        evaluate_block<Tree>(block, leaves, b, r, i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) total[j] += static_cast<double>(block[j]);
      }
      for (index_t j = 0; j < lanes; ++j) total[j] *= scale;
      store_block(y.sample(b) + i, total, columns_left<S::width>(i));
    }
  });
}

}  // namespace detail

/// y = scale Σ tree(leaves), over everything (y is [1]) or over every sample (y is [B]).
/// @param shape of the expression; its rows are summed by the workers, the sums of rows added up in order
template <class Tree, ContextOn<Cpu> C, class T, class R, class S, class... L>
  requires(R::rank == 1)
void reduce_forward(C& context, View<T, R> y, S shape, double scale, Pack<L...> leaves) {
  const auto g = leaves.apply([&](const auto&... l) { return detail::geometry(shape, true, l...); });
  const index_t rows = g.samples * g.rows();
  const Arena::Mark before = context.workspace().activations.mark();
  double* sums = context.template take<double>(rows);
  launch(context, "reduce_forward", {double(shape.size()) * sizeof(T) * sizeof...(L), 0}, [&](Cpu& cpu) {
    detail::sum_rows<Tree, typename C::wide, S>(cpu, sums, g, leaves);
    const index_t results = y.shape.rows(), each = rows / results;
    for (index_t b = 0; b < results; ++b) {
      double total = 0;
      for (index_t row = b * each; row < (b + 1) * each; ++row) total += sums[row];
      *y.row(b) = static_cast<T>(scale * total);
    }
  });
  context.workspace().activations.pop(before);
}

/// y = scale Σ tree(leaves) over the rows of every sample, in double.  @param y [B, D]
template <class Tree, ContextOn<Cpu> C, class T, class R, class S, class... L>
  requires(R::rank == 2)
void reduce_forward(C& context, View<T, R> y, S shape, double scale, Pack<L...> leaves) {
  launch(context, "reduce_forward", {double(shape.size()) * sizeof(T) * sizeof...(L), 0},
         [&](Cpu& cpu) { detail::sum_tokens<Tree, typename C::wide, S>(cpu, y, scale, leaves); });
}

}  // namespace sra::backend
