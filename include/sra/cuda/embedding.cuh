// Embeddings of labels and of times on the GPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/kernel.cuh>

#include <cmath>
#include <cstdint>

namespace sra::gpu {

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

struct SineCosine {
  double sine, cosine;
};

/// sin(x) and cos(x) by the series around the nearest multiple of π / 2, each within 2^-52 for |x| <= 2^20: r is rounded twice,
/// by 2^-54 at most, as the result of the series is.  Unlike the toolkit's functions they need no array, and so no stack: those
/// reduce angles of any size.  NaN for what is not finite.
SRA_DEVICE SineCosine sine_cosine(double x) {
  constexpr double half_pi = 0x1.921fb54442d18p+0, rest = 0x1.1a62633145c07p-54, per_half_pi = 0x1.45f306dc9c883p-1;
  const double quarters = std::rint(x * per_half_pi);
  const double r = std::fma(-quarters, rest, std::fma(-quarters, half_pi, x)), z = r * r;
  double s = 1, c = 1;
  SRA_UNROLL
  for (int k = 9; k > 0; --k) {
    s = 1 - z * s * (1.0 / (2 * k * (2 * k + 1)));
    c = 1 - z * c * (1.0 / (2 * k * (2 * k - 1)));
  }
  s *= r;
  const double quarter = quarters - 4 * std::floor(0.25 * quarters);
  const bool odd = quarter == 1 || quarter == 3;
  const double sine = odd ? c : s, cosine = odd ? s : c;
  return {quarter >= 2 ? -sine : sine, quarter == 1 || quarter == 2 ? -cosine : cosine};
}

template <class T, class Y, class W>
struct TimeFeatures {
  View<T, Y> y;
  View<const W, Shape<dynamic>> t;

  SRA_DEVICE void operator()(index_t at) const {
    constexpr index_t frequencies = Y::width / 2;
    const index_t b = at / frequencies, k = at % frequencies;
    const float exponent = -9.210340371976184f * static_cast<float>(k) / static_cast<float>(frequencies);
    const float f = static_cast<float>(std::exp(static_cast<double>(exponent)));
    const SineCosine of = sine_cosine(static_cast<double>(t.data[b] * static_cast<W>(f)));
    y.row(b)[k] = number_cast<T>(of.cosine);
    y.row(b)[frequencies + k] = number_cast<T>(of.sine);
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

/// y = [cos(t f), sin(t f)]; products in the type of t, cosines and sines in double.  @param t at most 2^20 in size
template <ContextOn<Cuda> C, class T, class Y, class W>
void time_features_forward(C& context, View<T, Y> y, View<const W, Shape<dynamic>> t) {
  launch(context, "time_features_forward", {double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    for_each(cuda, y.shape.batch * (Y::width / 2), detail::TimeFeatures<T, Y, W>{y, t});
  });
}

}  // namespace sra::gpu
