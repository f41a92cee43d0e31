// Softmax and scaling to unit length of rows on the GPU, a warp for each.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/leaf.cuh>
#include <sra/cuda/warp_row.cuh>
#include <sra/expr/maths.hpp>

namespace sra::gpu {

namespace detail {

/// Reads 1, writes 1: 4 bytes an element in bf16; a warp has its row in flight.
template <int N, class T, class S>
struct SoftmaxForward {
  using W = wide_t<T>;
  using Row = WarpRow<N, S::width, T>;
  View<T, S> y, x;

  SRA_DEVICE void row(index_t r, int) const {
    const Row held(x.row(r));
    W most = number_cast<W>(x.row(r)[0]);
    Row::for_pieces([&](int k, index_t i) {
      W v[N];
      held.get(v, k, i);
      for (int j = 0; j < N; ++j) most = larger(most, v[j]);
    });
    for (int mask = arch::warp_size / 2; mask > 0; mask /= 2) most = larger(most, arch::exchange(most, mask));
    W sum = 0;
    Row::for_pieces([&](int k, index_t i) {
      W v[N];
      held.get(v, k, i);
      for (int j = 0; j < N; ++j) sum += maths::exp(v[j] - most);
    });
    const W scale = W(1) / warp_sum(sum);
    Row::for_pieces([&](int k, index_t i) {
      W v[N];
      held.get(v, k, i);
      for (int j = 0; j < N; ++j) v[j] = maths::exp(v[j] - most) * scale;
      store(y.row(r) + i, v);
    });
  }
  static SRA_DEVICE W larger(W a, W b) { return a < b ? b : a; }
};

/// Reads 2, writes 1: 6 bytes an element in bf16.
template <int N, class T, class S>
struct SoftmaxBackward {
  using W = wide_t<T>;
  using Row = WarpRow<N, S::width, T>;
  View<const T, S> dy;
  View<T, S> y;
  Grad<T, S> dx;

  SRA_DEVICE void row(index_t r, int) const {
    const Row probabilities(y.row(r)), up(dy.row(r));
    W p[N], d[N], dot = 0;
    Row::for_pieces([&](int k, index_t i) {
      probabilities.get(p, k, i);
      up.get(d, k, i);
      for (int j = 0; j < N; ++j) dot += p[j] * d[j];
    });
    dot = warp_sum(dot);
    Row::for_pieces([&](int k, index_t i) {
      probabilities.get(p, k, i);
      up.get(d, k, i);
      for (int j = 0; j < N; ++j) d[j] = p[j] * (d[j] - dot);
      put(dx.to.row(r) + i, d, dx.mode == GradMode::accumulate);
    });
  }
};

/// Reads 1, writes 1: 4 bytes an element in bf16.
template <int N, class T, class S>
struct NormalizeForward {
  using W = wide_t<T>;
  using Row = WarpRow<N, S::width, T>;
  View<T, S> y;
  W* norms;
  View<T, S> x;
  W eps;

  SRA_DEVICE void row(index_t r, int lane) const {
    const Row held(x.row(r));
    W v[N], sum = 0;
    Row::for_pieces([&](int k, index_t i) {
      held.get(v, k, i);
      for (int j = 0; j < N; ++j) sum += v[j] * v[j];
    });
    const W norm = maths::sqrt(warp_sum(sum)), scale = W(1) / (norm < eps ? eps : norm);
    if (lane == 0) norms[r] = norm;
    Row::for_pieces([&](int k, index_t i) {
      held.get(v, k, i);
      for (int j = 0; j < N; ++j) v[j] *= scale;
      store(y.row(r) + i, v);
    });
  }
};

/// Reads 2, writes 1: 6 bytes an element in bf16.
template <int N, class T, class S>
struct NormalizeBackward {
  using W = wide_t<T>;
  using Row = WarpRow<N, S::width, T>;
  View<const T, S> dy;
  View<T, S> y;
  const W* norms;
  W eps;
  Grad<T, S> dx;

  SRA_DEVICE void row(index_t r, int) const {
    const Row unit(y.row(r)), up(dy.row(r));
    W u[N], d[N], dot = 0;
    Row::for_pieces([&](int k, index_t i) {
      unit.get(u, k, i);
      up.get(d, k, i);
      for (int j = 0; j < N; ++j) dot += u[j] * d[j];
    });
    dot = warp_sum(dot);
    const bool clamped = norms[r] < eps;
    const W along = clamped ? W(0) : dot, scale = W(1) / (clamped ? eps : norms[r]);
    Row::for_pieces([&](int k, index_t i) {
      unit.get(u, k, i);
      up.get(d, k, i);
      for (int j = 0; j < N; ++j) d[j] = (d[j] - along * u[j]) * scale;
      put(dx.to.row(r) + i, d, dx.mode == GradMode::accumulate);
    });
  }
};

}  // namespace detail

/// y = softmax(x) of every row.
template <ContextOn<Cuda> C, class T, class S>
void softmax_forward(C& context, View<T, S> y, View<T, S> x) {
  launch(context, "softmax_forward", {2.0 * double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          detail::for_rows(cuda, x.shape.rows(), detail::SoftmaxForward<N, T, S>{y, x});
        },
        y, x);
  });
}

/// dx = y (dy − Σ y dy) of every row.
template <ContextOn<Cuda> C, class T, class S>
void softmax_backward(C& context, View<const T, S> dy, View<T, S> y, Grad<T, S> dx) {
  if (!dx) return;
  launch(context, "softmax_backward", {3.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          detail::for_rows(cuda, y.shape.rows(), detail::SoftmaxBackward<N, T, S>{dy, y, dx});
        },
        dy, y, dx);
  });
}

/// y = x / max(|x|, eps) of every row, norms[row] = |x|.
template <ContextOn<Cuda> C, class T, class S>
void normalize_forward(C& context, View<T, S> y, typename C::wide* norms, View<T, S> x, double eps) {
  using W = typename C::wide;
  launch(context, "normalize_forward", {2.0 * double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          detail::for_rows(cuda, x.shape.rows(), detail::NormalizeForward<N, T, S>{y, norms, x, static_cast<W>(eps)});
        },
        y, x);
  });
}

/// dx = (dy − y Σ y dy) / |x| of every row, dy / eps where |x| < eps.
template <ContextOn<Cuda> C, class T, class S>
void normalize_backward(C& context, View<const T, S> dy, View<T, S> y, const typename C::wide* norms, double eps,
                        Grad<T, S> dx) {
  if (!dx) return;
  using W = typename C::wide;
  launch(context, "normalize_backward", {3.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          detail::for_rows(cuda, y.shape.rows(),
                           detail::NormalizeBackward<N, T, S>{dy, y, norms, static_cast<W>(eps), dx});
        },
        dy, y, dx);
  });
}

}  // namespace sra::gpu
