// Softmax and scaling to unit length of rows on the GPU, a warp for each.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/kernel.cuh>
#include <sra/expr/maths.hpp>

#include <algorithm>

namespace sra::cuda {

namespace detail {

/// Runs rule.row(row, lane) for every row, a warp each.
template <class Rule>
struct WarpRows {
  static constexpr int threads = 256;
  Rule rule;
  index_t rows;

  SRA_DEVICE void operator()() const {
    constexpr int warps = threads / arch::warp_size;
    for (index_t row = arch::block() * warps + arch::thread() / arch::warp_size; row < rows;
         row += arch::blocks() * warps)
      rule.row(row, arch::thread() % arch::warp_size);
  }
};
template <class Rule>
void for_rows(Cuda& cuda, index_t rows, const Rule& rule) {
  arch::launch_kernel(cuda.stream(), std::min<index_t>(16 * cuda.multiprocessors(), (rows + 7) / 8), 0,
                      WarpRows<Rule>{rule, rows});
}

template <class T, class S>
struct SoftmaxForward {
  using W = wide_t<T>;
  View<T, S> y, x;

  SRA_DEVICE void row(index_t r, int lane) const {
    const T* const from = x.row(r);
    T* const to = y.row(r);
    W most = number_cast<W>(from[0]);
    for (index_t i = lane; i < S::width; i += arch::warp_size) most = larger(most, number_cast<W>(from[i]));
    for (int mask = arch::warp_size / 2; mask > 0; mask /= 2) most = larger(most, arch::exchange(most, mask));
    W sum = 0;
    for (index_t i = lane; i < S::width; i += arch::warp_size) sum += maths::exp(number_cast<W>(from[i]) - most);
    const W scale = W(1) / warp_sum(sum);
    for (index_t i = lane; i < S::width; i += arch::warp_size)
      to[i] = number_cast<T>(maths::exp(number_cast<W>(from[i]) - most) * scale);
  }
  static SRA_DEVICE W larger(W a, W b) { return a < b ? b : a; }
};

template <class T, class S>
struct SoftmaxBackward {
  using W = wide_t<T>;
  View<const T, S> dy;
  View<T, S> y;
  Grad<T, S> dx;

  SRA_DEVICE void row(index_t r, int lane) const {
    const T *const p = y.row(r), *const d = dy.row(r);
    W dot = 0;
    for (index_t i = lane; i < S::width; i += arch::warp_size) dot += number_cast<W>(p[i]) * number_cast<W>(d[i]);
    dot = warp_sum(dot);
    for (index_t i = lane; i < S::width; i += arch::warp_size) {
      const W g[1] = {number_cast<W>(p[i]) * (number_cast<W>(d[i]) - dot)};
      put(dx.to.row(r) + i, g, dx.mode == GradMode::accumulate);
    }
  }
};

template <class T, class S>
struct NormalizeForward {
  using W = wide_t<T>;
  View<T, S> y;
  W* norms;
  View<T, S> x;
  W eps;

  SRA_DEVICE void row(index_t r, int lane) const {
    W sum = 0;
    for (index_t i = lane; i < S::width; i += arch::warp_size)
      sum += number_cast<W>(x.row(r)[i]) * number_cast<W>(x.row(r)[i]);
    const W norm = maths::sqrt(warp_sum(sum)), scale = W(1) / (norm < eps ? eps : norm);
    if (lane == 0) norms[r] = norm;
    for (index_t i = lane; i < S::width; i += arch::warp_size)
      y.row(r)[i] = number_cast<T>(number_cast<W>(x.row(r)[i]) * scale);
  }
};

template <class T, class S>
struct NormalizeBackward {
  using W = wide_t<T>;
  View<const T, S> dy;
  View<T, S> y;
  const W* norms;
  W eps;
  Grad<T, S> dx;

  SRA_DEVICE void row(index_t r, int lane) const {
    const T *const u = y.row(r), *const d = dy.row(r);
    W dot = 0;
    for (index_t i = lane; i < S::width; i += arch::warp_size) dot += number_cast<W>(u[i]) * number_cast<W>(d[i]);
    dot = warp_sum(dot);
    const bool clamped = norms[r] < eps;
    const W along = clamped ? W(0) : dot, scale = W(1) / (clamped ? eps : norms[r]);
    for (index_t i = lane; i < S::width; i += arch::warp_size) {
      const W g[1] = {(number_cast<W>(d[i]) - along * number_cast<W>(u[i])) * scale};
      put(dx.to.row(r) + i, g, dx.mode == GradMode::accumulate);
    }
  }
};

}  // namespace detail

/// y = softmax(x) of every row.
template <ContextOn<Cuda> C, class T, class S>
void softmax_forward(C& context, View<T, S> y, View<T, S> x) {
  launch(context, "softmax_forward", {2.0 * double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    detail::for_rows(cuda, x.shape.rows(), detail::SoftmaxForward<T, S>{y, x});
  });
}

/// dx = y (dy − Σ y dy) of every row.
template <ContextOn<Cuda> C, class T, class S>
void softmax_backward(C& context, View<const T, S> dy, View<T, S> y, Grad<T, S> dx) {
  if (!dx) return;
  launch(context, "softmax_backward", {3.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    detail::for_rows(cuda, y.shape.rows(), detail::SoftmaxBackward<T, S>{dy, y, dx});
  });
}

/// y = x / max(|x|, eps) of every row, norms[row] = |x|.
template <ContextOn<Cuda> C, class T, class S>
void normalize_forward(C& context, View<T, S> y, typename C::wide* norms, View<T, S> x, double eps) {
  using W = typename C::wide;
  launch(context, "normalize_forward", {2.0 * double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    detail::for_rows(cuda, x.shape.rows(), detail::NormalizeForward<T, S>{y, norms, x, static_cast<W>(eps)});
  });
}

/// dx = (dy − y Σ y dy) / |x| of every row, dy / eps where |x| < eps.
template <ContextOn<Cuda> C, class T, class S>
void normalize_backward(C& context, View<const T, S> dy, View<T, S> y, const typename C::wide* norms, double eps,
                        Grad<T, S> dx) {
  if (!dx) return;
  using W = typename C::wide;
  launch(context, "normalize_backward", {3.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    detail::for_rows(cuda, y.shape.rows(), detail::NormalizeBackward<T, S>{dy, y, norms, static_cast<W>(eps), dx});
  });
}

}  // namespace sra::cuda
