// Cosine distances on the CPU, over features or over tokens.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/expr/bytes.hpp>
#include <sra/expr/maths.hpp>

#include <algorithm>

namespace sra::backend {

namespace detail {

/// The cosine of one pair of vectors and its derivatives dc/da = both * b − left * a, dc/db = both * a − right * b.
/// @param norm_a, norm_b |a|, |b|  @param dot a·b
template <class W>
struct Cosine {
  W value, both, left, right;

  [[gnu::always_inline]] Cosine(W norm_a, W norm_b, W dot, W eps) {
    constexpr W tiny = W(1e-30);  // where the norm is 0 so is the cosine, and 0 / tiny is what we want
    const W na = maths::select(norm_a < eps, eps, norm_a), nb = maths::select(norm_b < eps, eps, norm_b);
    both = W(1) / na / nb;
    value = dot * both;
    left = value / na / maths::select(norm_a < tiny, tiny, norm_a);
    right = value / nb / maths::select(norm_b < tiny, tiny, norm_b);
  }
};

/// to = or += both * x − own * y.
template <class W, class T>
[[gnu::always_inline]] inline void put_difference(T* to, bool add, const W (&both)[lanes], const W (&x)[lanes],
                                                  const W (&own)[lanes], const W (&y)[lanes], index_t count) {
  W d[lanes];
  for (index_t j = 0; j < lanes; ++j) d[j] = both[j] * x[j] - own[j] * y[j];
  if (add)
    accumulate_block(to, d, count);
  else
    store_block(to, d, count);
}

/// y[b] = 1 − the mean of each sample's `count` cosines, summed in order in double.
template <class W, class T, class S>
void mean_distances(View<T, S> y, const W* cosines, index_t count) {
  for (index_t b = 0; b < y.shape.samples(); ++b) {
    double total = 0;
    for (index_t i = 0; i < count; ++i) total += static_cast<double>(cosines[b * count + i]);
    *y.sample(b) = static_cast<T>(1.0 - total / static_cast<double>(count));
  }
}

/// |a|, |b|, a·b of every token, as [rows, 3], and the tokens' cosines.
template <class W, class A, class B, class S>
void cosines_of_rows(Cpu& cpu, W* stats, W* cosines, View<A, S> a, View<B, S> b, W eps) {
  for_rows(cpu, a.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
    for (index_t r = begin; r < end; ++r) {
      W u[lanes], v[lanes], uu[lanes], vv[lanes], uv[lanes];
      for (index_t j = 0; j < lanes; ++j) uu[j] = vv[j] = uv[j] = 0;
      for (index_t i = 0; i < S::width; i += lanes) {
        load_block(u, a.row(r) + i, columns_left<S::width>(i));
        load_block(v, b.row(r) + i, columns_left<S::width>(i));
        for (index_t j = 0; j < lanes; ++j) uu[j] += u[j] * u[j];
        for (index_t j = 0; j < lanes; ++j) vv[j] += v[j] * v[j];
        for (index_t j = 0; j < lanes; ++j) uv[j] += u[j] * v[j];
      }
      W* s = stats + 3 * r;
      s[0] = maths::sqrt(sum_block(uu)), s[1] = maths::sqrt(sum_block(vv)), s[2] = sum_block(uv);
      cosines[r] = Cosine<W>(s[0], s[1], s[2], eps).value;
    }
  });
}

/// |a|, |b|, a·b of every feature, as [B, 3, D], and the features' cosines.
template <class W, class A, class B, class S>
void cosines_of_columns(Cpu& cpu, W* stats, W* cosines, View<A, S> a, View<B, S> b, W eps) {
  constexpr index_t blocks = (S::width + lanes - 1) / lanes;
  for_tasks(cpu, a.shape.samples() * blocks, [=](index_t task, index_t, int) {
    const index_t sample = task / blocks, i = task % blocks * lanes, count = columns_left<S::width>(i);
    W u[lanes], v[lanes], uu[lanes], vv[lanes], uv[lanes];
    for (index_t j = 0; j < lanes; ++j) uu[j] = vv[j] = uv[j] = 0;
    for (index_t r = 0; r < S::sample_rows; ++r) {
      load_block(u, a.row(sample, r) + i, count);
      load_block(v, b.row(sample, r) + i, count);
      for (index_t j = 0; j < lanes; ++j) uu[j] += u[j] * u[j];
      for (index_t j = 0; j < lanes; ++j) vv[j] += v[j] * v[j];
      for (index_t j = 0; j < lanes; ++j) uv[j] += u[j] * v[j];
    }
    for (index_t j = 0; j < lanes; ++j) uu[j] = maths::sqrt(uu[j]);
    for (index_t j = 0; j < lanes; ++j) vv[j] = maths::sqrt(vv[j]);
    W* s = stats + 3 * S::width * sample + i;
    store_block(s, uu, count);
    store_block(s + S::width, vv, count);
    store_block(s + 2 * S::width, uv, count);
    for (index_t j = 0; j < lanes; ++j) u[j] = Cosine<W>(uu[j], vv[j], uv[j], eps).value;
    store_block(cosines + S::width * sample + i, u, count);
  });
}

}  // namespace detail

/// y = the mean of 1 − cos(a, b) over the tokens of a sample (the features, if OverTokens).  Reads a and b once.
/// @param stats |a|, |b|, a·b: [B, T, 3], or [B, 3, D] if OverTokens
template <bool OverTokens, ContextOn<Cpu> C, class W, class R, class A, class B, class S>
void cosine_forward(C& context, View<W, R> y, W* stats, View<A, S> a, View<B, S> b, double eps) {
  constexpr index_t each = OverTokens ? S::width : S::sample_rows;
  const Arena::Mark before = context.workspace().activations.mark();
  W* cosines = context.template take<W>(a.shape.samples() * each);
  const double size = double(a.shape.size());
  launch(context, "cosine_forward", {size * (sizeof(A) + sizeof(B)), 6 * size}, [&](Cpu& cpu) {
    if constexpr (OverTokens)
      detail::cosines_of_columns(cpu, stats, cosines, a, b, static_cast<W>(eps));
    else
      detail::cosines_of_rows(cpu, stats, cosines, a, b, static_cast<W>(eps));
    detail::mean_distances(y, cosines, each);
  });
  context.workspace().activations.pop(before);
}

/// The gradients of both operands; each may be ignored.  Reads a and b once.
template <bool OverTokens, ContextOn<Cpu> C, class W, class R, class A, class B, class S>
void cosine_backward(C& context, View<const W, R> dy, W* stats, View<A, S> a, View<B, S> b, double eps, Grad<A, S> da,
                     Grad<B, S> db) {
  if (!da && !db) return;
  constexpr index_t each = OverTokens ? S::width : S::sample_rows, blocks = (S::width + lanes - 1) / lanes;
  const double bytes = sra::detail::view_bytes(a) + sra::detail::view_bytes(b) + sra::detail::grad_bytes(da) +
                       sra::detail::grad_bytes(db);
  // A task is a block of columns of a sample: all rows for one set of factors, or new factors for every row.
  launch(context, "cosine_backward", {bytes, 6 * double(a.shape.size())}, [&](Cpu& cpu) {
    const bool add_a = da.mode == GradMode::accumulate, add_b = db.mode == GradMode::accumulate;
    const index_t grain = std::max<index_t>(1, 256 / S::sample_rows);
    for_rows(cpu, a.shape.samples() * blocks, grain, [=](index_t begin, index_t end, int) {
      for (index_t task = begin; task < end; ++task) {
        const index_t sample = task / blocks, i = task % blocks * lanes, count = columns_left<S::width>(i);
        const W slope = static_cast<W>(-static_cast<double>(*dy.sample(sample)) / static_cast<double>(each));
        W both[lanes], left[lanes], right[lanes], u[lanes], v[lanes];
        if constexpr (OverTokens) {
          const W* s = stats + 3 * S::width * sample + i;
          W norm_a[lanes], norm_b[lanes], dot[lanes];
          load_block(norm_a, s, count);
          load_block(norm_b, s + S::width, count);
          load_block(dot, s + 2 * S::width, count);
          for (index_t j = 0; j < lanes; ++j) {
            const detail::Cosine<W> c(norm_a[j], norm_b[j], dot[j], static_cast<W>(eps));
            both[j] = slope * c.both, left[j] = slope * c.left, right[j] = slope * c.right;
          }
        }
        for (index_t r = 0; r < S::sample_rows; ++r) {
          if constexpr (!OverTokens) {
            const W* s = stats + 3 * (sample * S::sample_rows + r);
            const detail::Cosine<W> c(s[0], s[1], s[2], static_cast<W>(eps));
            const W to_both = slope * c.both, to_left = slope * c.left, to_right = slope * c.right;
            for (index_t j = 0; j < lanes; ++j) both[j] = to_both, left[j] = to_left, right[j] = to_right;
          }
          load_block(u, a.row(sample, r) + i, count);
          load_block(v, b.row(sample, r) + i, count);
          if (da) detail::put_difference(da.to.row(sample, r) + i, add_a, both, v, left, u, count);
          if (db) detail::put_difference(db.to.row(sample, r) + i, add_b, both, u, right, v, count);
        }
      }
    });
  });
}

}  // namespace sra::backend
