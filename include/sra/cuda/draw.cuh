// Random draws of a training step on the GPU, and the path's coefficients.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/philox.hpp>
#include <sra/cuda/kernel.cuh>

#include <cmath>
#include <cstdint>

namespace sra::gpu {

namespace detail {

template <class T, class S, class Key>
struct DrawNormal {
  View<T, S> y;
  Key key;
  Purpose purpose;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t b = at / S::sample_size(), k = at % S::sample_size();
    y.row(b, k / S::width)[k % S::width] = number_cast<T>(key.rng(purpose, b).normal(k));
  }
};

template <class Path, class W, class Key>
struct DrawTimes {
  View<W, Shape<dynamic>> t;
  Key key;
  bool uniform;

  SRA_DEVICE void operator()(index_t b) const {
    const Rng rng = key.rng(Purpose::time, b);
    t.data[b] = uniform ? static_cast<W>(rng.uniform(0))
                        : static_cast<W>(static_cast<float>(Path::time_of(std::exp(rng.normal_double(0)))));
  }
};

template <class W, class Key>
struct DrawCloserTimes {
  View<W, Shape<dynamic>> out;
  View<const W, Shape<dynamic>> t;
  Key key;
  W t_max;

  SRA_DEVICE void operator()(index_t b) const {
    const W u = static_cast<W>(key.rng(Purpose::teacher_time, b).uniform(0)), x = t.data[b] - t_max * u;
    out.data[b] = x < W(0) ? W(0) : x > W(1) ? W(1) : x;
  }
};

template <class Key>
struct DropLabels {
  View<std::int32_t, Shape<dynamic>> kept;
  View<const std::int32_t, Shape<dynamic>> labels;
  Key key;
  float p;
  std::int32_t null_class;

  SRA_DEVICE void operator()(index_t b) const {
    kept.data[b] = key.rng(Purpose::drop_label, b).uniform(0) < p ? null_class : labels.data[b];
  }
};

template <class S, class Key>
struct DropRows {
  View<float, S> kept;
  View<const float, S> rows;
  Key key;
  float p;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t b = at / S::width, i = at % S::width;
    kept.row(b)[i] = key.rng(Purpose::drop_label, b).uniform(0) < p ? 0.0f : rows.row(b)[i];
  }
};

template <class Path, class W>
struct PathCoefficients {
  View<W, Shape<dynamic>> alpha, sigma, dalpha, dsigma;
  View<const W, Shape<dynamic>> t;

  SRA_DEVICE void operator()(index_t b) const {
    const auto p = Path::at(static_cast<double>(t.data[b]));
    alpha.data[b] = static_cast<W>(p.alpha);
    sigma.data[b] = static_cast<W>(p.sigma);
    dalpha.data[b] = static_cast<W>(p.dalpha);
    dsigma.data[b] = static_cast<W>(p.dsigma);
  }
};

}  // namespace detail

/// y ~ N(0, 1), sample by sample.  @param y [B, ...]; element order as in the sample
template <ContextOn<Cuda> C, class T, class S, class Key>
void draw_normal(C& context, View<T, S> y, Key key, Purpose purpose) {
  launch(context, "draw_normal", {double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    for_each(cuda, y.shape.size(), detail::DrawNormal<T, S, Key>{y, key, purpose});
  });
}

/// Times by the distribution.  @param t [B]
template <class Path, ContextOn<Cuda> C, class W, class Key, class Distribution>
void times_draw(C& context, View<W, Shape<dynamic>> t, Key key, Distribution distribution) {
  launch(context, "draw_times", {double(t.shape.batch) * sizeof(W), 0}, [&](Cuda& cuda) {
    for_each(cuda, t.shape.batch, detail::DrawTimes<Path, W, Key>{t, key, distribution == Distribution::uniform});
  });
}

/// out = clamp(t − t_max u, 0, 1), u ~ U[0, 1) for each sample.
template <ContextOn<Cuda> C, class W, class Key>
void times_closer_to_data(C& context, View<W, Shape<dynamic>> out, View<const W, Shape<dynamic>> t, Key key,
                          float t_max) {
  launch(context, "draw_teacher_times", {2.0 * double(t.shape.batch) * sizeof(W), 0}, [&](Cuda& cuda) {
    for_each(cuda, t.shape.batch, detail::DrawCloserTimes<W, Key>{out, t, key, static_cast<W>(t_max)});
  });
}

/// kept = labels, or the null class with probability p.  @param kept, labels [B]
template <ContextOn<Cuda> C, class Key>
void drop_labels(C& context, View<std::int32_t, Shape<dynamic>> kept, View<const std::int32_t, Shape<dynamic>> labels,
                 Key key, float p, std::int32_t null_class) {
  launch(context, "drop_labels", {8.0 * double(labels.shape.batch), 0}, [&](Cuda& cuda) {
    for_each(cuda, labels.shape.batch, detail::DropLabels<Key>{kept, labels, key, p, null_class});
  });
}

/// kept = rows, or zeros with probability p.  @param kept, rows [B, K]
template <ContextOn<Cuda> C, class S, class Key>
void drop_rows(C& context, View<float, S> kept, View<const float, S> rows, Key key, float p) {
  launch(context, "drop_rows", {8.0 * double(rows.shape.size()), 0}, [&](Cuda& cuda) {
    for_each(cuda, rows.shape.size(), detail::DropRows<S, Key>{kept, rows, key, p});
  });
}

/// α, σ, α′, σ′ of each time, evaluated in double.
template <class Path, ContextOn<Cuda> C, class W>
void path_coefficients(C& context, View<W, Shape<dynamic>> alpha, View<W, Shape<dynamic>> sigma,
                       View<W, Shape<dynamic>> dalpha, View<W, Shape<dynamic>> dsigma,
                       View<const W, Shape<dynamic>> t) {
  launch(context, "path_coefficients", {5.0 * double(t.shape.batch) * sizeof(W), 0}, [&](Cuda& cuda) {
    for_each(cuda, t.shape.batch, detail::PathCoefficients<Path, W>{alpha, sigma, dalpha, dsigma, t});
  });
}

}  // namespace sra::gpu
