// Random draws of a training step on the CPU, and the path's coefficients.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/philox.hpp>
#include <sra/cpu/memory.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace sra::backend {

/// y ~ N(0, 1), sample by sample.  @param y [B, ...]; element order as in the sample
template <ContextOn<Cpu> C, class T, class S, class Key>
void draw_normal(C& context, View<T, S> y, Key key, Purpose purpose) {
  launch(context, "draw_normal", {double(y.shape.size()) * sizeof(T), 0}, [&](Cpu& cpu) {
    cpu.threads().for_each(y.shape.samples(), [=](index_t b, int) {
      const Rng rng = key.rng(purpose, b);
      for (index_t r = 0; r < S::sample_rows; ++r)
        for (index_t i = 0; i < S::width; ++i) y.row(b, r)[i] = static_cast<T>(rng.normal(r * S::width + i));
    });
  });
}

/// Times by the distribution.  @param t [B]
template <class Path, ContextOn<Cpu> C, class W, class Key, class Distribution>
void times_draw(C& context, View<W, Shape<dynamic>> t, Key key, Distribution distribution) {
  launch(context, "draw_times", {double(t.shape.batch) * sizeof(W), 0}, [&](Cpu&) {
    for (index_t b = 0; b < t.shape.batch; ++b) {
      const Rng rng = key.rng(Purpose::time, b);
      t.data[b] = distribution == Distribution::uniform
                      ? static_cast<W>(rng.uniform(0))
                      : static_cast<W>(static_cast<float>(Path::time_of(std::exp(rng.normal_double(0)))));
    }
  });
}

/// out = clamp(t − t_max u, 0, 1), u ~ U[0, 1) for each sample.
template <ContextOn<Cpu> C, class W, class Key>
void times_closer_to_data(C& context, View<W, Shape<dynamic>> out, View<const W, Shape<dynamic>> t, Key key,
                          float t_max) {
  launch(context, "draw_teacher_times", {2.0 * double(t.shape.batch) * sizeof(W), 0}, [&](Cpu&) {
    for (index_t b = 0; b < t.shape.batch; ++b) {
      const W u = static_cast<W>(key.rng(Purpose::teacher_time, b).uniform(0));
      out.data[b] = std::clamp(t.data[b] - static_cast<W>(t_max) * u, W(0), W(1));
    }
  });
}

/// kept = labels, or the null class with probability p.  @param kept, labels [B]
template <ContextOn<Cpu> C, class Key>
void drop_labels(C& context, View<std::int32_t, Shape<dynamic>> kept, View<const std::int32_t, Shape<dynamic>> labels,
                 Key key, float p, std::int32_t null_class) {
  launch(context, "drop_labels", {8.0 * double(labels.shape.batch), 0}, [&](Cpu&) {
    for (index_t b = 0; b < labels.shape.batch; ++b)
      kept.data[b] = key.rng(Purpose::drop_label, b).uniform(0) < p ? null_class : labels.data[b];
  });
}

/// kept = rows, or zeros with probability p.  @param kept, rows [B, K]
template <ContextOn<Cpu> C, class S, class Key>
void drop_rows(C& context, View<float, S> kept, View<const float, S> rows, Key key, float p) {
  launch(context, "drop_rows", {8.0 * double(rows.shape.size()), 0}, [&](Cpu&) {
    for (index_t b = 0; b < rows.shape.batch; ++b) {
      const bool dropped = key.rng(Purpose::drop_label, b).uniform(0) < p;
      for (index_t i = 0; i < S::width; ++i) kept.row(b)[i] = dropped ? 0.0f : rows.row(b)[i];
    }
  });
}

/// α, σ, α′, σ′ of each time, evaluated in double.
template <class Path, ContextOn<Cpu> C, class W>
void path_coefficients(C& context, View<W, Shape<dynamic>> alpha, View<W, Shape<dynamic>> sigma,
                       View<W, Shape<dynamic>> dalpha, View<W, Shape<dynamic>> dsigma,
                       View<const W, Shape<dynamic>> t) {
  launch(context, "path_coefficients", {5.0 * double(t.shape.batch) * sizeof(W), 0}, [&](Cpu&) {
    for (index_t b = 0; b < t.shape.batch; ++b) {
      const auto p = Path::at(static_cast<double>(t.data[b]));
      alpha.data[b] = static_cast<W>(p.alpha);
      sigma.data[b] = static_cast<W>(p.sigma);
      dalpha.data[b] = static_cast<W>(p.dalpha);
      dsigma.data[b] = static_cast<W>(p.dsigma);
    }
  });
}

}  // namespace sra::backend
