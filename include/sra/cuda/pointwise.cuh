// Fused pointwise expressions on the GPU: one pass forward, one backward, sums over broadcasts in a fixed order.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cuda/leaf.cuh>
#include <sra/cuda/memory.cuh>
#include <sra/expr/overlap.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace sra::gpu {

namespace detail {

/// Elements [i, i + N) of all leaves for row r of sample b: in[leaf][j].
template <int N, class W, class... L>
SRA_DEVICE void load_leaves(W (&in)[sizeof...(L)][N], const Pack<L...>& leaves, index_t b, index_t r, index_t i) {
  [&]<std::size_t... I>(std::index_sequence<I...>) { (load_leaf(in[I], get<I>(leaves), b, r, i), ...); }
  (std::index_sequence_for<L...>{});
}

/// In bf16 2 bytes an element for every operand of its shape and 2 written; a thread has 16 bytes of each operand in flight.
template <int N, class Tree, class T, class S, class... L>
struct PointwiseForward {
  View<T, S> y;
  Pack<L...> leaves;

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t pieces = S::width / N;
    const index_t row = piece / pieces, i = piece % pieces * N, b = row / S::sample_rows, r = row % S::sample_rows;
    wide_t<T> in[sizeof...(L)][N], out[N];
    load_leaves(in, leaves, b, r, i);
    for (int j = 0; j < N; ++j) out[j] = Tree::value(in, j);
    store(y.row(b, r) + i, out);
  }
};

}  // namespace detail

/// y = tree(leaves).  Reads every operand once, writes y once.
template <class Tree, ContextOn<Cuda> C, class T, class S, class... L>
void pointwise_forward(C& context, View<T, S> y, Pack<L...> leaves) {
  const double bytes = leaves.apply([&](const auto&... leaf) { return view_bytes(y) + (0 + ... + leaf_bytes(leaf)); });
  launch(context, "pointwise_forward", {bytes, 0}, [&](Cuda& cuda) {
    leaves.apply([&](const auto&... leaf) {
      with_vectors<8, S>(
          [&]<int N>() {
            for_each(cuda, y.shape.size() / N, detail::PointwiseForward<N, Tree, T, S, L...>{y, leaves});
          },
          y, leaf...);
    });
  });
}

namespace detail {

/// How the gradient of a leaf comes about.
enum class Sum {
  none,     ///< nobody wants it
  each,     ///< one element each: written or added where it belongs
  row,      ///< one for each row: summed over its columns
  columns,  ///< one row, or one for each sample or group: summed over rows
  one,      ///< one number, or one for each sample
  tokens    ///< the same rows in every sample: summed over samples
};
template <class L, class G>
SRA_FN constexpr Sum sum_of() {
  if constexpr (std::is_same_v<G, NoGrad>)
    return Sum::none;
  else if constexpr (L::broadcast == Broadcast::same)
    return Sum::each;
  else if constexpr (L::broadcast == Broadcast::token)
    return Sum::tokens;
  else if constexpr (L::broadcast == Broadcast::per_row)
    return Sum::row;
  else if constexpr (L::single && L::broadcast != Broadcast::grouped)
    return Sum::one;
  else
    return Sum::columns;
}

/// Gradients that are written element by element.  Reads dy and those operands that they depend on, in vectors of 16 bytes.
template <int N, class Tree, class S, class Dy, class Leaves, class Grads>
struct PointwiseEach;
template <int N, class Tree, class S, class Dy, class... L, class... G>
struct PointwiseEach<N, Tree, S, Dy, Pack<L...>, Pack<G...>> {
  using W = wide_t<typename Dy::type>;

  Dy dy;
  W scale;
  Pack<L...> leaves;
  Pack<G...> grads;
  int only;  ///< number of the one gradient that is written, or -1: all

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t pieces = S::width / N;
    const index_t row = piece / pieces, i = piece % pieces * N, b = row / S::sample_rows, r = row % S::sample_rows;
    W in[sizeof...(L)][N], d[sizeof...(L)][N], up[N];
    load_leaves(in, leaves, b, r, i);
    load_leaf(up, dy, b, r, i);
    for (int j = 0; j < N; ++j) Tree::pull(in, j, up[j] * scale, d);
    [&]<std::size_t... I>(std::index_sequence<I...>) { (put_each<I, L>(get<I>(grads), d[I], b, r, i), ...); }
    (std::index_sequence_for<L...>{});
  }

 private:
  template <std::size_t I, class Leaf, class Grad>
  SRA_DEVICE void put_each(const Grad& grad, const W (&d)[N], index_t b, index_t r, index_t i) const {
    if constexpr (sum_of<Leaf, Grad>() == Sum::each)
      if (grad && (only < 0 || only == static_cast<int>(I)))
        put(grad.to.row(b, r) + i, d, grad.mode == GradMode::accumulate);
  }
};

/// The gradient of one leaf that is a sum, over `inner` rows and columns that a block goes through in a fixed order:
/// thread t of a row's N-column piece adds up rows first + slice, first + slice + slices, …  Reads dy and the operands.
template <int N, std::size_t I, class Tree, class S, class Dy, class Leaves, class G>
struct PointwiseSum;
template <int N, std::size_t I, class Tree, class S, class Dy, class... L, class G>
struct PointwiseSum<N, I, Tree, S, Dy, Pack<L...>, G> {
  static constexpr int threads = 256;
  using W = wide_t<typename Dy::type>;
  using Leaf = std::remove_cvref_t<decltype(get<I>(std::declval<Pack<L...>>()))>;
  static constexpr Sum sum = sum_of<Leaf, G>();
  static constexpr index_t pieces = S::width / N;
  /// Threads side by side in a row, and rows at a time.
  static constexpr int across = pieces >= 32   ? 32
                                : pieces >= 16 ? 16
                                : pieces >= 8  ? 8
                                : pieces >= 4  ? 4
                                : pieces >= 2  ? 2
                                               : 1;
  static constexpr int slices = threads / across;
  static constexpr index_t column_blocks = (pieces + across - 1) / across;

  Dy dy;
  W scale;
  Pack<L...> leaves;
  W* partial;
  index_t samples, groups, chunks, rows_each;  ///< a sample's rows are cut into chunks

  /// The derivative by the leaf at columns [i, i + N) of row r of sample b.
  SRA_DEVICE void derivative(W (&to)[N], index_t b, index_t r, index_t i) const {
    W in[sizeof...(L)][N], d[sizeof...(L)][N], up[N];
    load_leaves(in, leaves, b, r, i);
    load_leaf(up, dy, b, r, i);
    for (int j = 0; j < N; ++j) Tree::pull(in, j, up[j] * scale, d);
    for (int j = 0; j < N; ++j) to[j] = d[I][j];
  }

  SRA_DEVICE void operator()() const {
    if constexpr (sum == Sum::row)
      sum_rows();
    else if constexpr (sum == Sum::columns)
      sum_columns();
    else if constexpr (sum == Sum::one)
      sum_all();
    else if constexpr (sum == Sum::tokens)
      sum_samples();
  }

  /// partial[row]: a warp for each row.
  SRA_DEVICE void sum_rows() const {
    const int lane = arch::thread() % arch::warp_size, warp = arch::thread() / arch::warp_size;
    for (index_t row = arch::block() * (threads / arch::warp_size) + warp; row < samples * S::sample_rows;
         row += arch::blocks() * (threads / arch::warp_size)) {
      W total = 0;
      for (index_t piece = lane; piece < pieces; piece += arch::warp_size) {
        W d[N];
        derivative(d, row / S::sample_rows, row % S::sample_rows, piece * N);
        for (int j = 0; j < N; ++j) total += d[j];
      }
      total = warp_sum(total);
      if (lane == 0) partial[row] = total;
    }
  }

  /// partial[chunk of a sample, group]: [width].  A block for `across` pieces of a chunk.
  SRA_DEVICE void sum_columns() const {
    const index_t column = arch::block() % column_blocks * across + arch::thread() % across,
                  chunk = arch::block() / column_blocks, b = chunk / chunks, first = chunk % chunks * rows_each,
                  last = first + rows_each < S::sample_rows ? first + rows_each : S::sample_rows;
    const int slice = arch::thread() / across;
    auto* const room = reinterpret_cast<W*>(arch::shared_memory());
    for (index_t g = 0; g < groups; ++g) {
      W total[N] = {};
      if (column < pieces)
        for (index_t r = first + slice; r < last; r += slices) {
          if constexpr (Leaf::broadcast == Broadcast::grouped)
            if (get<I>(leaves).group.row(b, 0)[r] != g) continue;
          W d[N];
          derivative(d, b, r, column * N);
          for (int j = 0; j < N; ++j) total[j] += d[j];
        }
      arch::barrier();
      for (int j = 0; j < N; ++j) room[(slice * across + arch::thread() % across) * N + j] = total[j];
      arch::barrier();
      if (slice == 0 && column < pieces) {
        for (int s = 1; s < slices; ++s)
          for (int j = 0; j < N; ++j) total[j] += room[(s * across + arch::thread()) * N + j];
        store(partial + (chunk * groups + g) * round_up(S::width, index_t{4}) + column * N, total);
      }
    }
  }

  /// partial[chunk of a sample]: a block for each.
  SRA_DEVICE void sum_all() const {
    const index_t b = arch::block() / chunks, first = arch::block() % chunks * rows_each,
                  last = first + rows_each < S::sample_rows ? first + rows_each : S::sample_rows;
    W total = 0;
    for (index_t piece = first * pieces + arch::thread(); piece < last * pieces; piece += threads) {
      W d[N];
      derivative(d, b, piece / pieces, piece % pieces * N);
      for (int j = 0; j < N; ++j) total += d[j];
    }
    total = block_sum(total, reinterpret_cast<W*>(arch::shared_memory()));
    if (arch::thread() == 0) partial[arch::block()] = total;
  }

  /// partial[row of a sample]: [width], in the order of samples; a thread for each piece.
  SRA_DEVICE void sum_samples() const {
    for (index_t piece = arch::block() * threads + arch::thread(); piece < S::sample_rows * pieces;
         piece += arch::blocks() * threads) {
      const index_t r = piece / pieces, i = piece % pieces * N;
      W total[N] = {};
      for (index_t b = 0; b < samples; ++b) {
        W d[N];
        derivative(d, b, r, i);
        for (int j = 0; j < N; ++j) total[j] += d[j];
      }
      for (int j = 0; j < N; ++j) partial[r * S::width + i + j] = total[j];
    }
  }
};

/// result = or += the sum of `count` partial sums at a distance of `step`, in order, in double.
template <class W, class T, class S>
struct PointwiseFold {
  const W* partial;
  Grad<T, S> grad;
  index_t count, step, of_row;  ///< of_row: distance between the partial sums of neighbouring rows of the result

  SRA_DEVICE void operator()(index_t at) const {
    const index_t row = at / S::width, i = at % S::width;
    T& to = grad.to.row(row)[i];
    double sum = grad.mode == GradMode::accumulate ? number_cast<double>(to) : 0;
    const W* from = partial + row * of_row + i;
    for (index_t n = 0; n < count; ++n) sum += static_cast<double>(from[n * step]);
    to = number_cast<T>(sum);
  }
};

/// The gradient of leaf I if it is a sum: partial sums by blocks, then their sum.
template <std::size_t I, class Tree, class C, class S, class Dy, class... L, class G>
void pull_sum(C& context, S shape, Dy dy, double scale, const Pack<L...>& leaves, const G& grad) {
  using Leaf = std::remove_cvref_t<decltype(get<I>(leaves))>;
  constexpr Sum sum = sum_of<Leaf, G>();
  if constexpr (sum != Sum::none && sum != Sum::each) {
    if (!grad) return;
    using W = typename C::wide;
    using R = std::remove_cvref_t<decltype(grad.to)>;
    using RS = typename R::shape_type;
    constexpr bool per_sample = Leaf::broadcast == Broadcast::sample || Leaf::broadcast == Broadcast::grouped;
    constexpr index_t groups = Leaf::broadcast == Broadcast::grouped ? RS::sample_rows : 1,
                      pitch = round_up(S::width, index_t{4});
    constexpr index_t wanted = 264, rows_least = 16;
    const index_t samples = shape.samples(),
                  chunks = std::clamp<index_t>(wanted / std::max<index_t>(1, samples), 1,
                                               (S::sample_rows + rows_least - 1) / rows_least),
                  rows_each = (S::sample_rows + chunks - 1) / chunks;
    const index_t size = sum == Sum::row       ? shape.rows()
                         : sum == Sum::tokens  ? S::sample_size()
                         : sum == Sum::columns ? samples * chunks * groups * pitch
                                               : samples * chunks;
    const Arena::Mark before = context.workspace().activations.mark();
    W* const partial = context.template take<W>(std::max<index_t>(1, size));
    const double bytes = leaf_bytes(dy) + grad_bytes(grad) +
                         pulled_bytes<Tree>(leaves, [](int leaf) { return leaf == static_cast<int>(I); });
    launch(context, "pointwise_sums", {bytes, 0}, [&](Cuda& cuda) {
      leaves.apply([&](const auto&... leaf) {
        with_vectors<8, S>(
            [&]<int N>() {
              using Kernel = PointwiseSum<N, I, Tree, S, Dy, Pack<L...>, G>;
              const index_t blocks = sum == Sum::columns ? samples * chunks * Kernel::column_blocks
                                     : sum == Sum::one   ? samples * chunks
                                                         : 8 * cuda.multiprocessors();
              arch::launch_kernel(
                  cuda.stream(), blocks, Kernel::threads * N * sizeof(W),
                  Kernel{dy, static_cast<W>(scale), leaves, partial, samples, groups, chunks, rows_each});
            },
            dy, leaf...);
      });
      // What the partial sums of one result are: of its row, its chunks, or all.
      const index_t count = sum == Sum::row || sum == Sum::tokens ? 1 : per_sample ? chunks : samples * chunks;
      const index_t step = sum == Sum::columns ? groups * pitch : 1;
      if constexpr (Leaf::broadcast == Broadcast::grouped) {
        for (index_t g = 0; g < groups; ++g) {
          const View<typename R::type, Shape<dynamic, RS::width>> rows{
              grad.to.data + g * grad.to.pitch, {samples}, grad.to.pitch, grad.to.stride};
          for_each(cuda, samples * RS::width,
                   PointwiseFold<W, typename R::type, Shape<dynamic, RS::width>>{
                       partial + g * pitch, {rows, grad.mode}, count, step, chunks * groups * pitch});
        }
      } else {
        const index_t of_row = sum == Sum::row ? 1 : sum == Sum::tokens ? S::width : count * step;
        for_each(cuda, grad.to.shape.size(),
                 PointwiseFold<W, typename R::type, RS>{partial, grad, count, step, of_row});
      }
    });
    context.workspace().activations.pop(before);
  }
}

}  // namespace detail

namespace detail {

/// What PointwiseEach moves.
template <class Tree, class Dy, class... L, class... G>
double each_bytes(const Dy& dy, const Pack<L...>& leaves, const Pack<G...>& grads) {
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    const double written[] = {(sum_of<L, G>() == Sum::each ? grad_bytes(get<I>(grads)) : 0)...};
    return (leaf_bytes(dy) + ... + written[I]) +
           pulled_bytes<Tree>(leaves, [&](int leaf) { return written[leaf] > 0; });
  }
  (std::index_sequence_for<L...>{});
}

}  // namespace detail

/// The gradients of a tree's operands from dy, times scale.  Those of the tree's shape are written in one pass; each that is a
/// sum has a pass of its own.  Sums in the wide type by threads and blocks, then in double.
/// @param dy a leaf view: the incoming gradient may itself be broadcast (a mean's is)
template <class Tree, ContextOn<Cuda> C, class S, class Dy, class... L, class... G>
void pointwise_backward(C& context, S shape, Dy dy, double scale, Pack<L...> leaves, Pack<G...> grads) {
  using W = typename C::wide;
  constexpr bool any_each = ((detail::sum_of<L, G>() == detail::Sum::each) || ...);
  if constexpr (any_each) {
    launch(context, "pointwise_backward", {detail::each_bytes<Tree>(dy, leaves, grads), 0}, [&](Cuda& cuda) {
      const auto run = [&](int only) {
        leaves.apply([&](const auto&... leaf) {
          grads.apply([&](const auto&... grad) {
            with_vectors<8, S>(
                [&]<int N>() {
                  using Kernel = detail::PointwiseEach<N, Tree, S, Dy, Pack<L...>, Pack<G...>>;
                  for_each(cuda, shape.size() / N, Kernel{dy, static_cast<W>(scale), leaves, grads, only});
                },
                dy, leaf..., grad...);
          });
        });
      };
      const bool in_order = grads.apply([&](const auto&... grad) {
        const auto meets_another = [&](const auto& g) { return (sra::detail::overlap(g, grad) || ...); };
        return (meets_another(grad) || ...);
      });
      for (int only = in_order ? 0 : -1; only < (in_order ? static_cast<int>(sizeof...(G)) : 0); ++only) run(only);
    });
  }
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (detail::pull_sum<I, Tree>(context, shape, dy, scale, leaves, get<I>(grads)), ...);
  }
  (std::index_sequence_for<L...>{});
}

}  // namespace sra::gpu
