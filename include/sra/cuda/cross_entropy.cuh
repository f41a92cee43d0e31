// The cross-entropy of class scores on the GPU, a warp for each sample.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/rows.cuh>

#include <cmath>
#include <cstdint>

namespace sra::gpu {

namespace detail {

template <class W, class R, class T, class S>
struct CrossEntropyForward {
  View<W, R> y;
  W* logs;
  View<T, S> x;
  View<const std::int32_t, Shape<dynamic>> labels;

  SRA_DEVICE void row(index_t r, int lane) const {
    const T* const from = x.row(r);
    W most = number_cast<W>(from[0]);
    for (index_t i = lane; i < S::width; i += arch::warp_size) {
      const W here = number_cast<W>(from[i]);
      most = most < here ? here : most;
    }
    for (int mask = arch::warp_size / 2; mask > 0; mask /= 2) {
      const W other = arch::exchange(most, mask);
      most = most < other ? other : most;
    }
    W sum = 0;
    for (index_t i = lane; i < S::width; i += arch::warp_size) sum += maths::exp(number_cast<W>(from[i]) - most);
    sum = warp_sum(sum);
    if (lane != 0) return;
    const double log = std::log(static_cast<double>(sum)) + static_cast<double>(most);
    logs[r] = static_cast<W>(log);
    *y.row(r) = static_cast<W>(log - static_cast<double>(number_cast<W>(from[labels.data[r]])));
  }
};

template <class W, class R, class T, class S>
struct CrossEntropyBackward {
  View<const W, R> dy;
  const W* logs;
  View<T, S> x;
  View<const std::int32_t, Shape<dynamic>> labels;
  Grad<T, S> dx;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t r = at / S::width, i = at % S::width;
    const W p = maths::exp(number_cast<W>(x.row(r)[i]) - logs[r]);
    const W g[1] = {*dy.row(r) * (i == labels.data[r] ? p - W(1) : p)};
    put(dx.to.row(r) + i, g, dx.mode == GradMode::accumulate);
  }
};

}  // namespace detail

/// y = log Σ exp(x) − x[label] of every row, logs = log Σ exp(x).
template <ContextOn<Cuda> C, class W, class R, class T, class S>
void cross_entropy_forward(C& context, View<W, R> y, W* logs, View<T, S> x,
                           View<const std::int32_t, Shape<dynamic>> labels) {
  launch(context, "cross_entropy_forward", {double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    detail::for_rows(cuda, x.shape.rows(), detail::CrossEntropyForward<W, R, T, S>{y, logs, x, labels});
  });
}

/// dx = dy (exp(x − logs) − [j = label]) of every row.
template <ContextOn<Cuda> C, class W, class R, class T, class S>
void cross_entropy_backward(C& context, View<const W, R> dy, const W* logs, View<T, S> x,
                            View<const std::int32_t, Shape<dynamic>> labels, Grad<T, S> dx) {
  if (!dx) return;
  launch(context, "cross_entropy_backward", {2.0 * double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    for_each(cuda, x.shape.size(), detail::CrossEntropyBackward<W, R, T, S>{dy, logs, x, labels, dx});
  });
}

}  // namespace sra::gpu
