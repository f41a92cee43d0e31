// Cosine distances on the GPU, over features or over tokens.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cuda/leaf.cuh>
#include <sra/cuda/rows.cuh>
#include <sra/expr/maths.hpp>

namespace sra::cuda {

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

/// |a|, |b|, a·b of every token as [rows, 3], and the tokens' cosines: a warp each.
template <class W, class A, class B, class S>
struct CosinesOfRows {
  W *stats, *cosines;
  View<A, S> a;
  View<B, S> b;
  W eps;

  SRA_DEVICE void row(index_t r, int lane) const {
    W uu = 0, vv = 0, uv = 0;
    for (index_t i = lane; i < S::width; i += arch::warp_size) {
      const W u = number_cast<W>(a.row(r)[i]), v = number_cast<W>(b.row(r)[i]);
      uu += u * u;
      vv += v * v;
      uv += u * v;
    }
    uu = maths::sqrt(warp_sum(uu));
    vv = maths::sqrt(warp_sum(vv));
    uv = warp_sum(uv);
    if (lane != 0) return;
    W* const s = stats + 3 * r;
    s[0] = uu, s[1] = vv, s[2] = uv;
    cosines[r] = Cosine<W>(uu, vv, uv, eps).value;
  }
};

/// |a|, |b|, a·b of every feature as [B, 3, D], and the features' cosines: a thread each.
template <class W, class A, class B, class S>
struct CosinesOfColumns {
  W *stats, *cosines;
  View<A, S> a;
  View<B, S> b;
  W eps;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t sample = at / S::width, i = at % S::width;
    W uu = 0, vv = 0, uv = 0;
    for (index_t r = 0; r < S::sample_rows; ++r) {
      const W u = number_cast<W>(a.row(sample, r)[i]), v = number_cast<W>(b.row(sample, r)[i]);
      uu += u * u;
      vv += v * v;
      uv += u * v;
    }
    uu = maths::sqrt(uu);
    vv = maths::sqrt(vv);
    W* const s = stats + 3 * S::width * sample + i;
    s[0] = uu, s[S::width] = vv, s[2 * S::width] = uv;
    cosines[at] = Cosine<W>(uu, vv, uv, eps).value;
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

template <bool OverTokens, class W, class R, class A, class B, class S>
struct CosineBackward {
  View<const W, R> dy;
  const W* stats;
  View<A, S> a;
  View<B, S> b;
  W eps;
  Grad<A, S> da;
  Grad<B, S> db;

  SRA_DEVICE void operator()(index_t at) const {
    constexpr index_t each = OverTokens ? S::width : S::sample_rows;
    const index_t sample = at / S::sample_size(), r = at / S::width % S::sample_rows, i = at % S::width;
    const W* const s = OverTokens ? stats + 3 * S::width * sample + i : stats + 3 * (sample * S::sample_rows + r);
    constexpr index_t step = OverTokens ? S::width : 1;
    const Cosine<W> c(s[0], s[step], s[2 * step], eps);
    const W slope = static_cast<W>(-static_cast<double>(*dy.sample(sample)) / static_cast<double>(each));
    const W u = number_cast<W>(a.row(sample, r)[i]), v = number_cast<W>(b.row(sample, r)[i]);
    const W to_a[1] = {slope * (c.both * v - c.left * u)}, to_b[1] = {slope * (c.both * u - c.right * v)};
    if (da) put(da.to.row(sample, r) + i, to_a, da.mode == GradMode::accumulate);
    if (db) put(db.to.row(sample, r) + i, to_b, db.mode == GradMode::accumulate);
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
      for_each(cuda, a.shape.samples() * S::width, detail::CosinesOfColumns<W, A, B, S>{stats, cosines, a, b, least});
    else
      detail::for_rows(cuda, a.shape.rows(), detail::CosinesOfRows<W, A, B, S>{stats, cosines, a, b, least});
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
    using Kernel = detail::CosineBackward<OverTokens, W, R, A, B, S>;
    for_each(cuda, a.shape.size(), Kernel{dy, stats, a, b, static_cast<W>(eps), da, db});
  });
}

}  // namespace sra::cuda
