// Fused pointwise expressions on the CPU: one pass forward, one backward, sums over broadcasts in a fixed order.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/memory.hpp>
#include <sra/expr/pointwise.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace sra::backend {

namespace detail {

using sra::detail::ConstantView;
using sra::detail::NoGrad;

/// Loads columns [i, i + count) of the leaf's row for row r of sample b; single elements fill the block.
template <class W, class L>
[[gnu::always_inline]] inline void load_leaf(W (&block)[lanes], const L& leaf, index_t b, index_t r, index_t i,
                                             index_t count) {
  if constexpr (std::is_same_v<L, ConstantView>) {
    for (index_t j = 0; j < lanes; ++j) block[j] = static_cast<W>(leaf.value);
  } else if constexpr (L::single) {
    const W x = static_cast<W>(*leaf.row(b, r));
    for (index_t j = 0; j < lanes; ++j) block[j] = x;
  } else {
    load_block(block, leaf.row(b, r) + i, count);
  }
}

/// A destination seen as samples x rows x columns.  When every leaf is either dense or one element per sample, a
/// sample is one long row: images with few channels then fill whole blocks.
struct Geometry {
  index_t samples, rows, columns;
  index_t blocks() const { return (columns + lanes - 1) / lanes; }
};

template <class L>
constexpr bool spans_sample() {
  if constexpr (std::is_same_v<L, ConstantView>) return true;
  else if constexpr (L::broadcast == Broadcast::same) return true;
  else return L::single && (L::broadcast == Broadcast::sample || L::broadcast == Broadcast::scalar);
}
template <class L>
bool gapless(const L& leaf) {
  if constexpr (std::is_same_v<L, ConstantView>) return true;
  else if constexpr (L::broadcast == Broadcast::same) return leaf.view.pitch == decltype(leaf.view)::shape_type::width;
  else return true;
}

template <class S, class... L>
Geometry geometry(S shape, bool dense, const L&... leaf) {
  if ((spans_sample<L>() && ...) && dense && (gapless(leaf) && ...)) return {shape.samples(), 1, S::sample_size()};
  return {shape.samples(), S::sample_rows, S::width};
}

/// How the gradient of one leaf is summed.  Tasks are (sample, block of columns) and go through the rows in order.
/// Leaves that no task owns alone get one slab of partial sums per task, added up afterwards in task order.
template <class W, class T>
struct Target {
  enum Kind { none, store, keep_columns, keep_single, row_single, grouped } kind = none;
  bool add = false;                          ///< to what is there
  W* slab = nullptr;                         ///< partial sums, or null: straight to the gradient
  index_t of_sample = 0, of_row = 0, of_block = 0;  ///< strides of the slab
};

}  // namespace detail

namespace detail {

// The kernels do not know the context, so that traced and untraced passes share their code.

template <class Tree, class T, class S, class... L>
void pointwise_rows(Cpu& cpu, View<T, S> y, Pack<L...> leaves) {
  using W = wide_t<T>;
  const auto g = leaves.apply([&](const auto&... l) { return geometry(y.shape, y.pitch == S::width, l...); });
  for_rows(cpu, g.samples * g.rows, rows_per_task(g.columns), [=](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const index_t b = row / g.rows, r = row % g.rows;
      T* out = y.row(b, r);
      for (index_t i = 0; i < g.columns; i += lanes) {
        const index_t count = g.columns - i;
        W in[sizeof...(L)][lanes];
        leaves.apply([&](const auto&... l) {
          int k = 0;
          (load_leaf(in[k++], l, b, r, i, count), ...);
        });
        W block[lanes];
        for (int j = 0; j < lanes; ++j) block[j] = Tree::value(in, j);
        store_block(out + i, block, count);
      }
    }
  });
}

}  // namespace detail

/// y = tree(leaves).  Reads every operand once, writes y once.
template <class Tree, ContextOn<Cpu> C, class T, class S, class... L>
void pointwise_forward(C& context, View<T, S> y, Pack<L...> leaves) {
  const double bytes = double(y.shape.size()) * sizeof(T) * (1 + sizeof...(L));
  launch(context, "pointwise_forward", {bytes, 0}, [&](Cpu& cpu) { detail::pointwise_rows<Tree>(cpu, y, leaves); });
}

namespace detail {

/// Where the tasks put the gradient of a leaf.  @param take allocates n elements of W
template <class W, class L, class G, class Take>
auto target_of(const L&, const G& grad, const Geometry& g, Take take) {
  if constexpr (std::is_same_v<G, NoGrad>) {
    return Target<W, W>{};
  } else {
    using T = typename decltype(grad.to)::type;
    Target<W, T> t;
    if (!grad) return t;
    const index_t tasks_rows = g.samples * g.rows, blocks = g.blocks();
    t.add = grad.mode == GradMode::accumulate;
    constexpr Broadcast kind = L::broadcast;
    if constexpr (kind == Broadcast::same) {
      t.kind = t.store;
    } else if constexpr (kind == Broadcast::grouped) {
      t.kind = t.grouped;
    } else if constexpr (kind == Broadcast::sample && !L::single) {
      t.kind = t.keep_columns;
    } else if constexpr (kind == Broadcast::per_row) {
      t.kind = t.row_single;
      t.slab = take(tasks_rows * blocks);
      t.of_sample = g.rows * blocks, t.of_row = blocks, t.of_block = 1;
    } else if constexpr (L::single) {  // one per sample, or one in all
      t.kind = t.keep_single;
      t.slab = take(g.samples * blocks);
      t.of_sample = blocks, t.of_block = 1;
    } else if constexpr (kind == Broadcast::row) {
      t.kind = t.keep_columns;
      t.slab = take(g.samples * g.columns);
      t.of_sample = g.columns;
    } else {  // token
      t.kind = t.store;
      t.slab = take(tasks_rows * g.columns);
      t.of_sample = g.rows * g.columns, t.of_row = g.columns;
    }
    return t;
  }
}

/// One row's contribution of one leaf.
template <class W, class L, class G, class T>
[[gnu::always_inline]] inline void contribute(const L& leaf, const G& grad, const Target<W, T>& t, W (&d)[lanes],
                                              W (&kept)[lanes], index_t b, index_t r, index_t i, index_t count) {
  if constexpr (!std::is_same_v<G, NoGrad>) {
    if (t.kind == t.store) {
      if (t.slab)
        store_block(t.slab + b * t.of_sample + r * t.of_row + i, d, count);
      else if (t.add)
        accumulate_block(grad.to.row(b, r) + i, d, count);
      else
        store_block(grad.to.row(b, r) + i, d, count);
    } else if (t.kind == t.keep_columns || t.kind == t.keep_single) {
      for (int j = 0; j < lanes; ++j) kept[j] += d[j];
    } else if (t.kind == t.row_single) {
      for (index_t j = std::max<index_t>(count, 0); j < lanes; ++j) d[j] = 0;
      t.slab[b * t.of_sample + r * t.of_row + i / lanes] = sum_block(d);
    } else if (t.kind == t.grouped) {
      if constexpr (L::broadcast == Broadcast::grouped)
        accumulate_block(grad.to.row(b, leaf.group.row(b, 0)[r]) + i, d, count);
    }
  }
}

/// What a leaf kept over the rows of a task.
template <class W, class L, class G, class T>
[[gnu::always_inline]] inline void settle(const L&, const G& grad, const Target<W, T>& t, W (&kept)[lanes], index_t b,
                                          index_t i, index_t count) {
  if constexpr (!std::is_same_v<G, NoGrad>) {
    if (t.kind == t.keep_columns) {
      if (t.slab)
        store_block(t.slab + b * t.of_sample + i, kept, count);
      else if (t.add)
        accumulate_block(grad.to.sample(b) + i, kept, count);
      else
        store_block(grad.to.sample(b) + i, kept, count);
    } else if (t.kind == t.keep_single) {
      for (index_t j = std::max<index_t>(count, 0); j < lanes; ++j) kept[j] = 0;
      t.slab[b * t.of_sample + i / lanes] = sum_block(kept);
    }
  }
}

/// Zeroes the columns [i, i + count) of all groups of sample b.
template <class W, class L, class G, class T>
inline void clear_groups(const L&, const G& grad, const Target<W, T>& t, index_t b, index_t i, index_t count) {
  if constexpr (!std::is_same_v<G, NoGrad>) {
    if (t.kind != t.grouped || t.add) return;
    using S = typename decltype(grad.to)::shape_type;
    for (index_t k = 0; k < S::sample_rows; ++k)
      for (index_t j = 0; j < std::min<index_t>(count, lanes); ++j) grad.to.row(b, k)[i + j] = T{};
  }
}

/// Adds up the slabs of one leaf in the order of samples and blocks.
template <class W, class L, class G, class T>
void fold(const L&, const G& grad, const Target<W, T>& t, const Geometry& g) {
  if constexpr (!std::is_same_v<G, NoGrad>) {
    if (!t.slab) return;
    const auto put = [&](T& to, double sum) { to = static_cast<T>(t.add ? static_cast<double>(to) + sum : sum); };
    const index_t blocks = g.blocks();
    constexpr Broadcast kind = L::broadcast;
    if constexpr (kind == Broadcast::sample || kind == Broadcast::per_row) {
      const index_t rows = kind == Broadcast::sample ? 1 : g.rows;
      for (index_t b = 0; b < g.samples; ++b)
        for (index_t r = 0; r < rows; ++r) {
          double sum = 0;
          for (index_t k = 0; k < blocks; ++k) sum += static_cast<double>(t.slab[b * t.of_sample + r * t.of_row + k]);
          put(*grad.to.row(b, r), sum);
        }
    } else if constexpr (L::single) {
      double sum = 0;
      for (index_t k = 0; k < g.samples * blocks; ++k) sum += static_cast<double>(t.slab[k]);
      put(*grad.to.data, sum);
    } else {
      const index_t rows = kind == Broadcast::token ? g.rows : 1;
      for (index_t r = 0; r < rows; ++r)
        for (index_t i = 0; i < g.columns; ++i) {
          double sum = 0;
          for (index_t b = 0; b < g.samples; ++b) sum += static_cast<double>(t.slab[b * t.of_sample + r * t.of_row + i]);
          put(grad.to.row(0, r)[i], sum);
        }
    }
  }
}

}  // namespace detail

/// The gradients of a tree's operands from dy, times scale.  Sums over broadcasts in the wide type: over a sample's rows in order,
/// then over samples and blocks of 64 columns in order, in double.
/// @param dy a leaf view: the incoming gradient may itself be broadcast (a mean's is)
template <class Tree, ContextOn<Cpu> C, class S, class Dy, class... L, class... G>
void pointwise_backward(C& context, S shape, Dy dy, double scale, Pack<L...> leaves, Pack<G...> grads) {
  using W = typename C::wide;
  const double bytes = double(shape.size()) * sizeof(typename C::type) * (1 + 2 * sizeof...(L));
  const auto indices = std::index_sequence_for<L...>{};
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const auto geometry = detail::geometry(shape, detail::gapless(dy) && detail::spans_sample<Dy>(), get<I>(leaves)...);
    const auto targets = pack(detail::target_of<W>(get<I>(leaves), get<I>(grads), geometry,
                                                   [&](index_t n) { return context.template take<W>(n); })...);
    launch(context, "pointwise_backward", {bytes, 0}, [&](Cpu& cpu) {
      const index_t blocks = geometry.blocks();
      const index_t grain = std::max<index_t>(1, 256 / geometry.rows);
      for_rows(cpu, geometry.samples * blocks, grain, [=](index_t begin, index_t end, int) {
        for (index_t task = begin; task < end; ++task) {
          const index_t b = task / blocks, i = task % blocks * lanes, count = geometry.columns - i;
          (detail::clear_groups<W>(get<I>(leaves), get<I>(grads), get<I>(targets), b, i, count), ...);
          W kept[sizeof...(L)][lanes];
          for (index_t k = 0; k < static_cast<index_t>(sizeof...(L)); ++k)
            for (int j = 0; j < lanes; ++j) kept[k][j] = 0;
          for (index_t r = 0; r < geometry.rows; ++r) {
            W in[sizeof...(L)][lanes], d[sizeof...(L)][lanes], up[lanes];
            (detail::load_leaf(in[I], get<I>(leaves), b, r, i, count), ...);
            detail::load_leaf(up, dy, b, r, i, count);
            for (int j = 0; j < lanes; ++j) Tree::pull(in, j, up[j] * static_cast<W>(scale), d);
            (detail::contribute<W>(get<I>(leaves), get<I>(grads), get<I>(targets), d[I], kept[I], b, r, i, count), ...);
          }
          (detail::settle<W>(get<I>(leaves), get<I>(grads), get<I>(targets), kept[I], b, i, count), ...);
        }
      });
      (detail::fold<W>(get<I>(leaves), get<I>(grads), get<I>(targets), geometry), ...);
    });
  }(indices);
}

}  // namespace sra::backend
