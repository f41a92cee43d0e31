// Sums of pointwise expressions on the GPU: evaluated where they are added up, never stored.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/pointwise.cuh>

#include <algorithm>

namespace sra::gpu {

namespace detail {

/// partial[block] = the sum of a tree over a part of a sample's pieces of N numbers, a block each.
template <int N, class Tree, class W, class S, class Leaves>
struct SumParts;
template <int N, class Tree, class W, class S, class... L>
struct SumParts<N, Tree, W, S, Pack<L...>> {
  static constexpr int threads = 256;
  static constexpr index_t pieces = S::width / N, of_sample = S::sample_rows * pieces;

  Pack<L...> leaves;
  double* partial;
  index_t parts, each;  ///< of a sample; pieces of a part

  SRA_DEVICE void operator()() const {
    const index_t b = arch::block() / parts, first = arch::block() % parts * each,
                  last = first + each < of_sample ? first + each : of_sample;
    double total = 0;
    for (index_t piece = first + arch::thread(); piece < last; piece += threads) {
      W in[sizeof...(L)][N], sum = 0;
      load_leaves(in, leaves, b, piece / pieces, piece % pieces * N);
      for (int j = 0; j < N; ++j) sum += Tree::value(in, j);
      total += static_cast<double>(sum);
    }
    total = block_sum(total, reinterpret_cast<double*>(arch::shared_memory()));
    if (arch::thread() == 0) partial[arch::block()] = total;
  }
};

/// result[at] = scale times the sum of `count` parts, in order.
template <class T, class R>
struct SumOfParts {
  View<T, R> y;
  const double* partial;
  index_t count;
  double scale;

  SRA_DEVICE void operator()(index_t at) const {
    double sum = 0;
    for (index_t n = 0; n < count; ++n) sum += partial[at * count + n];
    *y.row(at) = number_cast<T>(scale * sum);
  }
};

/// y = scale times the sum over every sample's rows, a thread for each column.
template <class Tree, class W, class S, class T, class R, class Leaves>
struct SumTokens;
template <class Tree, class W, class S, class T, class R, class... L>
struct SumTokens<Tree, W, S, T, R, Pack<L...>> {
  View<T, R> y;
  Pack<L...> leaves;
  double scale;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t b = at / S::width, i = at % S::width;
    double total = 0;
    for (index_t r = 0; r < S::sample_rows; ++r) {
      W in[sizeof...(L)][1];
      load_leaves(in, leaves, b, r, i);
      total += static_cast<double>(Tree::value(in, 0));
    }
    y.sample(b)[i] = number_cast<T>(total * scale);
  }
};

}  // namespace detail

/// y = scale Σ tree(leaves), over everything (y is [1]) or over every sample (y is [B]), in double: threads, then blocks, then
/// parts in order.
template <class Tree, ContextOn<Cuda> C, class T, class R, class S, class... L>
  requires(R::rank == 1)
void reduce_forward(C& context, View<T, R> y, S shape, double scale, Pack<L...> leaves) {
  constexpr index_t wanted = 1056, least = 2048;  // blocks: eight on each of 132 multiprocessors; numbers of a part
  const index_t samples = shape.samples(), results = y.shape.rows();
  const index_t parts =
      std::clamp<index_t>(wanted / std::max<index_t>(1, samples), 1, std::max<index_t>(1, S::sample_size() / least));
  const Arena::Mark before = context.workspace().activations.mark();
  double* partial = context.template take<double>(std::max<index_t>(1, samples * parts));
  const double bytes = leaves.apply([](const auto&... leaf) { return (0 + ... + leaf_bytes(leaf)); });
  launch(context, "reduce_forward", {bytes, 0}, [&](Cuda& cuda) {
    leaves.apply([&](const auto&... leaf) {
      with_vectors<8, S>(
          [&]<int N>() {
            using Kernel = detail::SumParts<N, Tree, typename C::wide, S, Pack<L...>>;
            const index_t each = (Kernel::of_sample + parts - 1) / parts;
            arch::launch_kernel(cuda.stream(), samples * parts, 8 * sizeof(double),
                                Kernel{leaves, partial, parts, each});
          },
          leaf...);
    });
    for_each(cuda, results, detail::SumOfParts<T, R>{y, partial, results == 0 ? 0 : samples * parts / results, scale});
  });
  context.workspace().activations.pop(before);
}

/// y = scale Σ tree(leaves) over the rows of every sample, in double.  @param y [B, D]
template <class Tree, ContextOn<Cuda> C, class T, class R, class S, class... L>
  requires(R::rank == 2)
void reduce_forward(C& context, View<T, R> y, S shape, double scale, Pack<L...> leaves) {
  const double bytes = leaves.apply([](const auto&... leaf) { return (0 + ... + leaf_bytes(leaf)); });
  launch(context, "reduce_forward", {bytes, 0}, [&](Cuda& cuda) {
    using Kernel = detail::SumTokens<Tree, typename C::wide, S, T, R, Pack<L...>>;
    for_each(cuda, shape.samples() * S::width, Kernel{y, leaves, scale});
  });
}

}  // namespace sra::gpu
