// Embeddings of labels and of times on the GPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/kernel.cuh>

#include <cmath>
#include <cstdint>

namespace sra::cuda {

namespace detail {

using Labels = View<const std::int32_t, Shape<dynamic>>;

template <class T, class Y, class U, class S>
struct EmbeddingForward {
  View<T, Y> y;
  View<U, S> table;
  Labels labels;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t b = at / Y::width, i = at % Y::width;
    y.row(b)[i] = number_cast<T>(table.row(labels.data[b])[i]);
  }
};

/// The first sample of a label adds up all samples of it, in order, a thread for each column: one writer for each number.
template <class U, class S, class T, class Y>
struct EmbeddingBackward {
  Grad<U, S> table;
  View<const T, Y> dy;
  Labels labels;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t first = at / Y::width, i = at % Y::width;
    const std::int32_t label = labels.data[first];
    for (index_t b = 0; b < first; ++b)
      if (labels.data[b] == label) return;
    U* const to = table.to.row(label) + i;
    U sum = table.mode == GradMode::accumulate ? *to : U(0);
    for (index_t b = first; b < dy.shape.batch; ++b)
      if (labels.data[b] == label) sum += number_cast<U>(dy.row(b)[i]);
    *to = sum;
  }
};

template <class T, class Y, class W>
struct TimeFeatures {
  View<T, Y> y;
  View<const W, Shape<dynamic>> t;

  SRA_DEVICE void operator()(index_t at) const {
    constexpr index_t half = Y::width / 2;
    const index_t b = at / half, k = at % half;
    const float exponent = -9.210340371976184f * static_cast<float>(k) / static_cast<float>(half);
    const float f = static_cast<float>(std::exp(static_cast<double>(exponent)));
    const double angle = static_cast<double>(t.data[b] * static_cast<W>(f));
    y.row(b)[k] = number_cast<T>(std::cos(angle));
    y.row(b)[half + k] = number_cast<T>(std::sin(angle));
  }
};

}  // namespace detail

/// y[b] = table[labels[b]].
template <ContextOn<Cuda> C, class T, class Y, class U, class S>
void embedding_forward(C& context, View<T, Y> y, View<U, S> table, detail::Labels labels) {
  launch(context, "embedding_forward", {2.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    for_each(cuda, y.shape.size(), detail::EmbeddingForward<T, Y, U, S>{y, table, labels});
  });
}

/// dtable[labels[b]] += dy[b] in the order of b.
template <ContextOn<Cuda> C, class U, class S, class T, class Y>
void embedding_backward(C& context, Grad<U, S> table, View<const T, Y> dy, detail::Labels labels) {
  if (!table) return;
  launch(context, "embedding_backward", {double(table.to.shape.size() + dy.shape.size()) * sizeof(T), 0},
         [&](Cuda& cuda) {
           if (table.mode == GradMode::overwrite)
             arch::zero(table.to.data, static_cast<std::size_t>(table.to.span()) * sizeof(U), cuda.stream());
           for_each(cuda, dy.shape.batch * Y::width, detail::EmbeddingBackward<U, S, T, Y>{table, dy, labels});
         });
}

/// y = [cos(t f), sin(t f)]; products in the type of t, cosines and sines in double.
template <ContextOn<Cuda> C, class T, class Y, class W>
void time_features_forward(C& context, View<T, Y> y, View<const W, Shape<dynamic>> t) {
  launch(context, "time_features_forward", {double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    for_each(cuda, y.shape.batch * (Y::width / 2), detail::TimeFeatures<T, Y, W>{y, t});
  });
}

}  // namespace sra::cuda
