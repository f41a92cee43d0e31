// The update of the CPU: the gradient's norm, then clipping, AdamW and the moving averages in one pass.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/core/settings.hpp>
#include <sra/cpu/isa/dispatch.hpp>
#include <sra/expr/maths.hpp>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace sra::backend {

/// Elements per partial sum of the gradient's norm.
inline constexpr index_t norm_chunk = 65536;

namespace detail {

/// partial[chunk] = sum of squares of a chunk, in double.
template <class W>
struct SquareChunks {
  const W* data;
  index_t count;
  double* partial;

  void operator()(index_t begin, index_t end, int) const {
    for (index_t chunk = begin; chunk < end; ++chunk) {
      const index_t last = std::min(count, (chunk + 1) * norm_chunk);
      double sum[lanes];
      for (index_t i = 0; i < lanes; ++i) sum[i] = 0;
      for (index_t j = chunk * norm_chunk; j < last; j += lanes) {
        double a[lanes];
        load_block(a, data + j, last - j);
        for (index_t i = 0; i < lanes; ++i) sum[i] += a[i] * a[i];
      }
      partial[chunk] = sum_block(sum);
    }
  }
};

/// Sums x[0, n) as a tree of halves.
inline double tree_sum(const double* x, index_t n) {
  if (n <= 2) return n == 2 ? x[0] + x[1] : n == 1 ? x[0] : 0.0;
  return tree_sum(x, n / 2) + tree_sum(x + n / 2, n - n / 2);
}

template <class W, class T>
struct UpdateRange {
  static constexpr bool copies = !std::is_same_v<W, T>;  ///< products read other numbers than the masters

  UpdateArgs<W, T> args;
  W keep, rest1, rest2, over_root, step;

  explicit UpdateRange(const UpdateArgs<W, T>& a) : args(a) {
    const auto& s = a.settings;
    keep = static_cast<W>(1.0 - static_cast<double>(a.lr) * static_cast<double>(s.weight_decay));
    rest1 = static_cast<W>(1.0 - static_cast<double>(s.beta1));
    rest2 = static_cast<W>(1.0 - static_cast<double>(s.beta2));
    over_root = static_cast<W>(std::sqrt(static_cast<double>(a.bias_correction2)));
    step = static_cast<W>(static_cast<double>(a.lr) / static_cast<double>(a.bias_correction1));
  }

  void operator()(index_t begin, index_t end, int) const {
    for (index_t j = begin; j < end; j += lanes) block(args.first + j, std::min(lanes, end - j));
  }

  [[gnu::always_inline]] void block(index_t at, index_t count) const {
    W p[lanes];
    load_block(p, args.master + at, count);
    if (!args.frozen) {
      W m[lanes], v[lanes], g[lanes];
      load_block(m, args.m + at, count);
      load_block(v, args.v + at, count);
      load_block(g, args.gradient + at, count);
      const W clip = args.clip_scale, beta2 = args.settings.beta2, eps = args.settings.eps;
      for (index_t i = 0; i < lanes; ++i) g[i] *= clip;
      for (index_t i = 0; i < lanes; ++i) m[i] += rest1 * (g[i] - m[i]);
      for (index_t i = 0; i < lanes; ++i) v[i] = beta2 * v[i] + rest2 * (g[i] * g[i]);
      for (index_t i = 0; i < lanes; ++i) p[i] = p[i] * keep - step * (m[i] / (maths::sqrt(v[i]) / over_root + eps));
      store_block(args.m + at, m, count);
      store_block(args.v + at, v, count);
      store_block(args.master + at, p, count);
      if constexpr (copies)
        if (args.values) store_block(args.values + at, p, count);
    }
    for (int n = 0; n < args.emas; ++n) {
      const W decay = args.ema_decay[n], rest = static_cast<W>(1.0 - static_cast<double>(decay));
      W e[lanes];
      load_block(e, args.ema[n] + at, count);
      for (index_t i = 0; i < lanes; ++i) e[i] = decay * e[i] + rest * p[i];
      store_block(args.ema[n] + at, e, count);
      if constexpr (copies)
        if (n == 0 && args.teacher) store_block(args.teacher + at, e, count);
    }
  }
};

}  // namespace detail

/// The sum of squares of data[0, count), in double: 64 sums side by side over each chunk of 65,536 elements, the chunks as a
/// tree of halves.  Same bits for any number of threads.  Uses shared scratch of 8 bytes per chunk.
template <class W>
double sum_of_squares(Cpu& cpu, const W* data, index_t count) {
  const index_t chunks = (count + norm_chunk - 1) / norm_chunk;
  auto* partial = reinterpret_cast<double*>(cpu.shared_scratch(sizeof(double) * static_cast<std::size_t>(chunks)));
  for_rows(cpu, chunks, 1, detail::SquareChunks<W>{data, count, partial});
  return detail::tree_sum(partial, chunks);
}

/// The Euclidean norm of data[0, count): the root of sum_of_squares.
template <class W>
double norm_of_chunks(Cpu& cpu, const W* data, index_t count) {
  return std::sqrt(sum_of_squares(cpu, data, count));
}

/// One step of AdamW (as torch.optim.AdamW: decoupled decay first) and of the moving averages, with g = clip_scale gradient:
///   p <- (1 - lr weight_decay) p,  m <- m + (1 - beta1) (g - m),  v <- beta2 v + (1 - beta2) g^2,
///   p <- p - lr / bias_correction1 * m / (sqrt(v) / sqrt(bias_correction2) + eps),  ema <- decay ema + (1 - decay) p,
/// the last with the new p; 1 - decay and the like are computed in double and rounded.  Elements are independent: same bits
/// for any number of threads and any cut into ranges.  Reads 4 + emas and writes 3 + emas numbers per element.
template <class W, class T>
void update(Cpu& cpu, const UpdateArgs<W, T>& args) {
  for_rows(cpu, args.count, 16384, detail::UpdateRange<W, T>(args));
}

/// sum_of_squares as a launch.
template <ContextOn<Cpu> C, class W>
double squared_norm(C& context, const W* data, index_t count) {
  double sum = 0;
  launch(context, "gradient_norm", {double(count) * sizeof(W), 2.0 * double(count)},
         [&](Cpu& cpu) { sum = sum_of_squares(cpu, data, count); });
  return sum;
}

/// update as a launch.
template <ContextOn<Cpu> C, class W, class T>
void update_parameters(C& context, const UpdateArgs<W, T>& args) {
  const double copies = double(args.count) * sizeof(T) * ((args.values ? 1 : 0) + (args.teacher ? 1 : 0));
  const double bytes = double(args.count) * sizeof(W) * (7 + 2 * args.emas) + copies;
  launch(context, "update_parameters", {bytes, 0}, [&](Cpu& cpu) { update(cpu, args); });
}

}  // namespace sra::backend
