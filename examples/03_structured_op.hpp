// An op with kernels of its own: the library is not changed, and kernels are found by their arguments.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

namespace lab {

/// Lets kernels of this namespace be found by their arguments.
struct Tag {};

/// y[t] = mean of x[0], …, x[t].  @param x [B, T, D]  @return [B, T, D].  Keeps nothing.
template <sra::Variable X>
X running_mean(X x) {
  static_assert(X::shape::rank == 3 && X::shape::batched, "running_mean: x must be [B, T, D]");
  auto y = x.like();
  running_mean_forward(Tag{}, x.context(), y.value, x.value);
  return record(y, [=](auto& c, auto dy) { running_mean_backward(Tag{}, c, dy, x.grad()); });
}

/// Reads 1, writes 1 [B, T, D].  One sample a task.
template <sra::ContextOn<sra::Cpu> C, class T, class S>
void running_mean_forward(Tag, C& context, sra::View<T, S> y, sra::View<T, S> x) {
  launch(context, "running_mean_forward", {2.0 * double(x.shape.size()) * sizeof(T), 0}, [&](sra::Cpu& cpu) {
    for_tasks(cpu, x.shape.batch, [=](sra::index_t begin, sra::index_t end, int) {
      for (sra::index_t b = begin; b < end; ++b)
        for (sra::index_t i = 0; i < S::width; ++i) {
          T sum = 0;
          for (sra::index_t t = 0; t < S::sample_rows; ++t) y.row(b, t)[i] = (sum += x.row(b, t)[i]) / T(t + 1);
        }
    });
  });
}

/// dx[s] = Σ over t >= s of dy[t] / (t + 1).
template <sra::ContextOn<sra::Cpu> C, class T, class S>
void running_mean_backward(Tag, C& context, sra::View<const T, S> dy, sra::Grad<T, S> dx) {
  if (!dx) return;
  const bool add = dx.mode == sra::GradMode::accumulate;
  launch(context, "running_mean_backward", {2.0 * double(dy.shape.size()) * sizeof(T), 0}, [&](sra::Cpu& cpu) {
    for_tasks(cpu, dy.shape.batch, [=](sra::index_t begin, sra::index_t end, int) {
      for (sra::index_t b = begin; b < end; ++b)
        for (sra::index_t i = 0; i < S::width; ++i) {
          T sum = 0;
          for (sra::index_t t = S::sample_rows; t-- > 0;) {
            sum += dy.row(b, t)[i] / T(t + 1);
            dx.to.row(b, t)[i] = add ? dx.to.row(b, t)[i] + sum : sum;
          }
        }
    });
  });
}

}  // namespace lab
