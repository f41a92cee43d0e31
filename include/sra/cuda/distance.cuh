// Cosine distances on the GPU, over features or over tokens.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cuda/leaf.cuh>
#include <sra/cuda/warp_row.cuh>
#include <sra/expr/maths.hpp>

#include <type_traits>

namespace sra::gpu {

namespace detail {

/// The cosine of one pair of vectors and its derivatives dc/da = both * b − left * a, dc/db = both * a − right * b.
/// @param norm_a, norm_b |a|, |b|  @param dot a·b
template <class W>
struct Cosine {
  W value, both, left, right;

  SRA_DEVICE Cosine(W norm_a, W norm_b, W dot, W eps) {
    constexpr W tiny = W(1e-30);  // where the norm is 0 so is the cosine, and 0 / tiny is what we want
    const W na = norm_a < eps ? eps : norm_a, nb = norm_b < eps ? eps : norm_b;
    both = W(1) / na / nb;
    value = dot * both;
    left = value / na / (norm_a < tiny ? tiny : norm_a);
    right = value / nb / (norm_b < tiny ? tiny : norm_b);
  }
};

/// |a|, |b|, a·b of every token as [rows, 3], and the tokens' cosines: a warp each, which has both rows in flight.  Reads 2: 4
/// bytes an element in bf16.
template <int N, class W, class A, class B, class S>
struct CosinesOfRows {
  W *stats, *cosines;
  View<A, S> a;
  View<B, S> b;
  W eps;

  SRA_DEVICE void row(index_t r, int lane) const {
    const WarpRow<N, S::width, std::remove_const_t<A>> left(a.row(r));
    const WarpRow<N, S::width, std::remove_const_t<B>> right(b.row(r));
    W uu = 0, vv = 0, uv = 0;
    left.for_pieces([&](int k, index_t i) {
      W u[N], v[N];
      left.get(u, k, i);
      right.get(v, k, i);
      for (int j = 0; j < N; ++j) {
        uu += u[j] * u[j];
        vv += v[j] * v[j];
        uv += u[j] * v[j];
      }
    });
    uu = maths::sqrt(warp_sum(uu));
    vv = maths::sqrt(warp_sum(vv));
    uv = warp_sum(uv);
    if (lane != 0) return;
    W* const s = stats + 3 * r;
    s[0] = uu, s[1] = vv, s[2] = uv;
    cosines[r] = Cosine<W>(uu, vv, uv, eps).value;
  }
};

/// |a|, |b|, a·b of every feature as [B, 3, D], and the features' cosines: a thread for N features, which adds up rows in order and
/// has eight of them in flight.  Reads 2: 4 bytes an element in bf16.
template <int N, class W, class A, class B, class S>
struct CosinesOfColumns {
  static constexpr int blocks_together = 3;  // registers for all that is to be in flight
  W *stats, *cosines;
  View<A, S> a;
  View<B, S> b;
  W eps;

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t pieces = S::width / N;
    constexpr int rows = 8;
    const index_t sample = piece / pieces, i = piece % pieces * N;
    W uu[N] = {}, vv[N] = {}, uv[N] = {};
    for (index_t r = 0; r < S::sample_rows; r += rows) {
      Vector<std::remove_const_t<A>, N> left[rows];
      Vector<std::remove_const_t<B>, N> right[rows];
      SRA_UNROLL
      for (int k = 0; k < rows; ++k)
        if (r + k < S::sample_rows) {
          left[k] = fetch<N>(a.row(sample, r + k) + i);
          right[k] = fetch<N>(b.row(sample, r + k) + i);
        }
      SRA_UNROLL
      for (int k = 0; k < rows; ++k)
        if (r + k < S::sample_rows) add(uu, vv, uv, left[k], right[k]);
    }
    for (int j = 0; j < N; ++j) {
      const W norms[2] = {maths::sqrt(uu[j]), maths::sqrt(vv[j])};
      W* const s = stats + 3 * S::width * sample + i + j;
      s[0] = norms[0], s[S::width] = norms[1], s[2 * S::width] = uv[j];
      cosines[sample * S::width + i + j] = Cosine<W>(norms[0], norms[1], uv[j], eps).value;
    }
  }

  template <class L, class R>
  static SRA_DEVICE void add(W (&uu)[N], W (&vv)[N], W (&uv)[N], const L& left, const R& right) {
    W u[N], v[N];
    widen(u, left);
    widen(v, right);
    for (int j = 0; j < N; ++j) {
      uu[j] += u[j] * u[j];
      vv[j] += v[j] * v[j];
      uv[j] += u[j] * v[j];
    }
  }
};

/// y[b] = 1 − the mean of each sample's `count` cosines, in double: a warp each.
template <class W, class T, class S>
struct MeanDistances {
  View<T, S> y;
  const W* cosines;
  index_t count;

  SRA_DEVICE void row(index_t b, int lane) const {
    double total = 0;
    for (index_t i = lane; i < count; i += arch::warp_size) total += static_cast<double>(cosines[b * count + i]);
    total = warp_sum(total);
    if (lane == 0) *y.sample(b) = number_cast<T>(1.0 - total / static_cast<double>(count));
  }
};

/// Reads 2, writes up to 2: 8 bytes an element in bf16; a thread has two vectors of 16 bytes in flight.
template <int N, bool OverTokens, class W, class R, class A, class B, class S>
struct CosineBackward {
  View<const W, R> dy;
  const W* stats;
  View<A, S> a;
  View<B, S> b;
  W eps;
  Grad<A, S> da;
  Grad<B, S> db;

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t each = OverTokens ? S::width : S::sample_rows, pieces = S::width / N;
    const index_t row = piece / pieces, i = piece % pieces * N, sample = row / S::sample_rows, r = row % S::sample_rows;
    const W* const s = OverTokens ? stats + 3 * S::width * sample + i : stats + 3 * row;
    constexpr index_t step = OverTokens ? S::width : 1;
    const W slope = static_cast<W>(-static_cast<double>(*dy.sample(sample)) / static_cast<double>(each));
    W u[N], v[N];
    load(u, a.row(sample, r) + i);
    load(v, b.row(sample, r) + i);
    for (int j = 0; j < N; ++j) {
      const W* const of = s + (OverTokens ? j : 0);
      const Cosine<W> c(of[0], of[step], of[2 * step], eps);
      const W to_a = slope * (c.both * v[j] - c.left * u[j]), to_b = slope * (c.both * u[j] - c.right * v[j]);
      u[j] = to_a, v[j] = to_b;
    }
    if (da) put(da.to.row(sample, r) + i, u, da.mode == GradMode::accumulate);
    if (db) put(db.to.row(sample, r) + i, v, db.mode == GradMode::accumulate);
  }
};

}  // namespace detail

/// y = the mean of 1 − cos(a, b) over the tokens of a sample (the features, if OverTokens).  Reads a and b once.
/// @param stats |a|, |b|, a·b: [B, T, 3], or [B, 3, D] if OverTokens
template <bool OverTokens, ContextOn<Cuda> C, class W, class R, class A, class B, class S>
void cosine_forward(C& context, View<W, R> y, W* stats, View<A, S> a, View<B, S> b, double eps) {
  constexpr index_t each = OverTokens ? S::width : S::sample_rows;
  const Arena::Mark before = context.workspace().activations.mark();
  W* cosines = context.template take<W>(a.shape.samples() * each);
  const double size = double(a.shape.size());
  launch(context, "cosine_forward", {size * (sizeof(A) + sizeof(B)), 6 * size}, [&](Cuda& cuda) {
    const W least = static_cast<W>(eps);
    if constexpr (OverTokens)
      with_vectors<4, S>(
          [&]<int N>() {
            for_each(cuda, a.shape.samples() * S::width / N,
                     detail::CosinesOfColumns<N, W, A, B, S>{stats, cosines, a, b, least});
          },
          a, b);
    else
      with_vectors<8, S>(
          [&]<int N>() {
            detail::for_rows(cuda, a.shape.rows(), detail::CosinesOfRows<N, W, A, B, S>{stats, cosines, a, b, least});
          },
          a, b);
    detail::for_rows(cuda, a.shape.samples(), detail::MeanDistances<W, W, R>{y, cosines, each});
  });
  context.workspace().activations.pop(before);
}

/// The gradients of both operands; each may be ignored.  Reads a and b once.
template <bool OverTokens, ContextOn<Cuda> C, class W, class R, class A, class B, class S>
void cosine_backward(C& context, View<const W, R> dy, W* stats, View<A, S> a, View<B, S> b, double eps, Grad<A, S> da,
                     Grad<B, S> db) {
  if (!da && !db) return;
  const double bytes = view_bytes(a) + view_bytes(b) + grad_bytes(da) + grad_bytes(db);
  launch(context, "cosine_backward", {bytes, 6 * double(a.shape.size())}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          using Kernel = detail::CosineBackward<N, OverTokens, W, R, A, B, S>;
          for_each(cuda, a.shape.size() / N, Kernel{dy, stats, a, b, static_cast<W>(eps), da, db});
        },
        a, b, da, db);
  });
}

}  // namespace sra::gpu
