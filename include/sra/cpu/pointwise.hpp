// Fused pointwise expressions on the CPU: one pass forward, one backward, sums over broadcasts in a fixed order.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/memory.hpp>
#include <sra/expr/bytes.hpp>
#include <sra/expr/overlap.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace sra::backend {

namespace detail {

using sra::detail::ConstantView;
using sra::detail::grad_bytes;
using sra::detail::leaf_bytes;
using sra::detail::NoGrad;
using sra::detail::view_bytes;

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

template <class L>
constexpr bool spans_sample() {
  if constexpr (std::is_same_v<L, ConstantView>)
    return true;
  else
    return L::broadcast == Broadcast::same ||
           (L::single && (L::broadcast == Broadcast::sample || L::broadcast == Broadcast::scalar));
}
template <class L>
bool gapless(const L& leaf) {
  if constexpr (std::is_same_v<L, ConstantView>)
    return true;
  else
    return L::broadcast != Broadcast::same || leaf.view.pitch == decltype(leaf.view)::shape_type::width;
}

/// A destination seen as samples x rows x columns.  When rows are short and every leaf is either dense or one element per
/// sample, a sample is one long row: images with few channels then fill whole blocks.
template <class S, bool Joined>
struct Geometry {
  index_t samples = 0, joined_rows = 0, joined_columns = 0;

  index_t rows() const { return Joined ? joined_rows : S::sample_rows; }
  index_t columns() const { return Joined ? joined_columns : S::width; }
  index_t blocks() const { return (columns() + lanes - 1) / lanes; }
  index_t left(index_t i) const { return Joined ? joined_columns - i : columns_left<S::width>(i); }
};

/// @param dense whether the destination itself has no gaps
template <class S, class... L>
auto geometry(S shape, bool dense, const L&... leaf) {
  constexpr bool joins = S::width < lanes && S::sample_rows > 1 && (spans_sample<L>() && ...);
  if constexpr (joins) {
    const bool joined = dense && (gapless(leaf) && ...);
    return Geometry<S, true>{shape.samples(), joined ? 1 : S::sample_rows, joined ? S::sample_size() : S::width};
  } else {
    return Geometry<S, false>{shape.samples()};
  }
}

/// Runs kernel over tasks: everywhere and vectorised, or, for a few numbers, here and once.
template <class S, class Kernel>
void for_tasks_of(Cpu& cpu, index_t tasks, index_t grain, const Kernel& kernel) {
  if constexpr (S::sample_size() == 1)
    for_few(tasks, kernel);
  else
    for_rows(cpu, tasks, grain, kernel);
}

// The kernels do not know the context, so that traced and untraced passes share their code.

template <class Tree, class T, class S, class... L>
void pointwise_rows(Cpu& cpu, View<T, S> y, Pack<L...> leaves) {
  using W = wide_t<T>;
  const auto g = leaves.apply([&](const auto&... l) { return geometry(y.shape, y.pitch == S::width, l...); });
  for_tasks_of<S>(cpu, g.samples * g.rows(), rows_per_task(g.columns()), [=](index_t begin, index_t end, int) {
    for (index_t row = begin; row < end; ++row) {
      const index_t b = row / g.rows(), r = row % g.rows();
      T* out = y.row(b, r);
      for (index_t i = 0; i < g.columns(); i += lanes) {
        const index_t count = g.left(i);
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

/// How the gradient of a leaf comes about.  Tasks are (sample, block of columns) and go through the rows in order.
enum class Sum {
  none,     ///< nobody wants it
  each,     ///< one element each: written or added where it belongs
  sample,   ///< columns summed over the task's rows, written or added where they belong
  grouped,  ///< rows added to their group's
  slab      ///< no task owns it: tasks leave partial sums, which are added up afterwards in their order
};

template <class L, class G>
constexpr Sum sum_of() {
  if constexpr (std::is_same_v<G, NoGrad>)
    return Sum::none;
  else if constexpr (L::broadcast == Broadcast::same)
    return Sum::each;
  else if constexpr (L::broadcast == Broadcast::grouped)
    return Sum::grouped;
  else if constexpr (L::broadcast == Broadcast::sample && !L::single)
    return Sum::sample;
  else
    return Sum::slab;
}

/// The gradient of one leaf during a backward pass.
template <class W, class L, class G>
struct Part {
  static constexpr Sum sum = sum_of<L, G>();
  /// Whether partial sums are kept over the rows of a task, or made for each row.
  static constexpr bool per_row =
      sum == Sum::slab && (L::broadcast == Broadcast::per_row || L::broadcast == Broadcast::token);
  static constexpr bool kept = sum == Sum::sample || (sum == Sum::slab && !per_row);

  L leaf;
  G grad;
  W* slab = nullptr;                                ///< partial sums
  index_t of_sample = 0, of_row = 0, of_block = 0;  ///< their strides

  bool wanted() const {
    if constexpr (sum == Sum::none)
      return false;
    else
      return static_cast<bool>(grad);
  }

  /// @param take allocates n elements of W
  template <class Geometry, class Take>
  void place(const Geometry& g, Take take) {
    if constexpr (sum == Sum::slab) {
      if (!wanted()) return;
      const index_t width = L::single ? g.blocks() : g.columns(), rows = per_row ? g.rows() : 1;
      slab = take(g.samples * rows * width);
      of_sample = rows * width;
      of_row = per_row ? width : 0;
      of_block = L::single ? 1 : lanes;
    }
  }

  /// Before the rows of sample b: groups that this step has not written yet are zero.
  [[gnu::always_inline]] void begin(index_t b, index_t i, index_t count) const {
    if constexpr (sum == Sum::grouped) {
      if (!grad || grad.mode == GradMode::accumulate) return;
      for (index_t k = 0; k < decltype(grad.to)::shape_type::sample_rows; ++k)
        for (index_t j = 0; j < std::min<index_t>(count, lanes); ++j) grad.to.row(b, k)[i + j] = {};
    }
  }

  /// One row's contribution d.
  [[gnu::always_inline]] void add(W (&d)[lanes], W (&sums)[lanes], index_t b, index_t r, index_t i,
                                  index_t count) const {
    if constexpr (kept) {
      for (int j = 0; j < lanes; ++j) sums[j] += d[j];
    } else if constexpr (sum == Sum::each) {
      if (!grad) return;
      auto* to = grad.to.row(b, r) + i;
      if (grad.mode == GradMode::accumulate)
        accumulate_block(to, d, count);
      else
        store_block(to, d, count);
    } else if constexpr (sum == Sum::grouped) {
      if (grad) accumulate_block(grad.to.row(b, leaf.group.row(b, 0)[r]) + i, d, count);
    } else if constexpr (per_row) {
      leave(d, b, r, i, count);
    }
  }

  /// After the rows of sample b.
  [[gnu::always_inline]] void end(W (&sums)[lanes], index_t b, index_t i, index_t count) const {
    if constexpr (sum == Sum::sample) {
      if (!grad) return;
      auto* to = grad.to.sample(b) + i;
      if (grad.mode == GradMode::accumulate)
        accumulate_block(to, sums, count);
      else
        store_block(to, sums, count);
    } else if constexpr (kept) {
      leave(sums, b, 0, i, count);
    }
  }

  /// Adds up the partial sums in the order of samples and blocks, in double.
  template <class Geometry>
  void fold(const Geometry& g) const {
    if constexpr (sum == Sum::slab) {
      if (!wanted()) return;
      const index_t blocks = L::single ? g.blocks() : 1, columns = L::single ? 1 : g.columns();
      constexpr bool over_samples = L::broadcast != Broadcast::sample && L::broadcast != Broadcast::per_row;
      const index_t rows = per_row ? g.rows() : 1, outer = over_samples ? 1 : g.samples,
                    inner = over_samples ? g.samples : 1;
      for (index_t o = 0; o < outer; ++o)
        for (index_t r = 0; r < rows; ++r)
          for (index_t i = 0; i < columns; ++i) {
            auto& to = grad.to.row(o, over_samples && !per_row ? 0 : r)[i];
            double total = grad.mode == GradMode::accumulate ? number_cast<double>(to) : 0.0;
            for (index_t b = o; b < o + inner; ++b)
              for (index_t k = 0; k < blocks; ++k)
                total += static_cast<double>(slab[b * of_sample + r * of_row + k * of_block + i]);
            to = number_cast<std::remove_reference_t<decltype(to)>>(total);
          }
    }
  }

 private:
  [[gnu::always_inline]] void leave(W (&d)[lanes], index_t b, index_t r, index_t i, index_t count) const {
    if (!slab) return;
    W* to = slab + b * of_sample + r * of_row + i / lanes * of_block;
    if constexpr (L::single) {
      for (index_t j = std::max<index_t>(count, 0); j < lanes; ++j) d[j] = 0;
      *to = sum_block(d);
    } else {
      store_block(to, d, count);
    }
  }
};

}  // namespace detail

/// y = tree(leaves).  Reads every operand once, writes y once.
template <class Tree, ContextOn<Cpu> C, class T, class S, class... L>
void pointwise_forward(C& context, View<T, S> y, Pack<L...> leaves) {
  const double bytes =
      leaves.apply([&](const auto&... leaf) { return detail::view_bytes(y) + (0 + ... + detail::leaf_bytes(leaf)); });
  launch(context, "pointwise_forward", {bytes, 0}, [&](Cpu& cpu) { detail::pointwise_rows<Tree>(cpu, y, leaves); });
}

/// The gradients of a tree's operands from dy, times scale.  Sums over broadcasts: over a sample's rows in order in the wide type,
/// then over samples and blocks of 64 columns in order, in double.
/// @param dy a leaf view: the incoming gradient may itself be broadcast (a mean's is)
template <class Tree, ContextOn<Cpu> C, class S, class Dy, class... L, class... G>
void pointwise_backward(C& context, S shape, Dy dy, double scale, Pack<L...> leaves, Pack<G...> grads) {
  using W = typename C::wide;
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    const double bytes =
        detail::leaf_bytes(dy) + (0 + ... + (detail::leaf_bytes(get<I>(leaves)) + detail::grad_bytes(get<I>(grads))));
    const auto g = detail::geometry(shape, true, dy, get<I>(leaves)...);
    auto parts = pack(detail::Part<W, L, G>{get<I>(leaves), get<I>(grads)}...);
    (static_cast<sra::detail::PackItem<I, detail::Part<W, L, G>>&>(parts).item.place(
         g, [&](index_t n) { return context.template take<W>(n); }),
     ...);
    launch(context, "pointwise_backward", {bytes, 0}, [&](Cpu& cpu) {
      const index_t blocks = g.blocks(), tasks = g.samples * blocks;
      const auto meets_another = [&](const auto& grad) { return (sra::detail::overlap(grad, get<I>(grads)) || ...); };
      const bool in_order = (meets_another(get<I>(grads)) || ...);
      detail::for_tasks_of<S>(cpu, tasks, in_order ? tasks : std::max<index_t>(1, 256 / g.rows()),
                              [=](index_t begin, index_t end, int) {
                                for (index_t task = begin; task < end; ++task) {
                                  const index_t b = task / blocks, i = task % blocks * lanes, count = g.left(i);
                                  (get<I>(parts).begin(b, i, count), ...);
                                  W kept[sizeof...(L)][lanes];
                                  for (std::size_t k = 0; k < sizeof...(L); ++k)
                                    for (int j = 0; j < lanes; ++j) kept[k][j] = 0;
                                  for (index_t r = 0; r < g.rows(); ++r) {
                                    W in[sizeof...(L)][lanes], d[sizeof...(L)][lanes], up[lanes];
                                    (detail::load_leaf(in[I], get<I>(leaves), b, r, i, count), ...);
                                    detail::load_leaf(up, dy, b, r, i, count);
                                    for (int j = 0; j < lanes; ++j) Tree::pull(in, j, up[j] * static_cast<W>(scale), d);
                                    (get<I>(parts).add(d[I], kept[I], b, r, i, count), ...);
                                  }
                                  (get<I>(parts).end(kept[I], b, i, count), ...);
                                }
                              });
      (get<I>(parts).fold(g), ...);
    });
  }
  (std::index_sequence_for<L...>{});
}

}  // namespace sra::backend
