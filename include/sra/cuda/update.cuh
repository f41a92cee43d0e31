// The update on the GPU: the gradient's norm, then clipping, AdamW and the moving averages in one pass.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/core/settings.hpp>
#include <sra/cuda/kernel.cuh>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace sra::cuda {

namespace detail {

/// partial[chunk] = the sum of squares of 65,536 numbers, a block each, in double.
template <class W>
struct SquareChunks {
  static constexpr int threads = 256;
  static constexpr index_t chunk = 65'536;
  const W* data;
  index_t count;
  double* partial;

  SRA_DEVICE void operator()() const {
    const index_t first = arch::block() * chunk, last = first + chunk < count ? first + chunk : count;
    double sum = 0;
    for (index_t i = first + 4 * arch::thread(); i < last; i += 4 * threads) {
      double x[4];
      load(x, data + i);  // buffers are multiples of 64
      for (int j = 0; j < 4; ++j) sum += x[j] * x[j];
    }
    sum = block_sum(sum, reinterpret_cast<double*>(arch::shared_memory()));
    if (arch::thread() == 0) partial[arch::block()] = sum;
  }
};

/// result = the sum of the chunks: threads in strides, then the block.
struct SquareTotal {
  static constexpr int threads = 256;
  const double* partial;
  index_t chunks;
  double* result;

  SRA_DEVICE void operator()() const {
    double sum = 0;
    for (index_t i = arch::thread(); i < chunks; i += threads) sum += partial[i];
    sum = block_sum(sum, reinterpret_cast<double*>(arch::shared_memory()));
    if (arch::thread() == 0) *result = sum;
  }
};

/// AdamW and averages of four neighbouring numbers; see update_parameters.
template <class W, class T>
struct UpdateNumbers {
  static constexpr bool copies = !std::is_same_v<W, T>;  ///< products read other numbers than the masters

  UpdateArgs<W, T> args;
  W keep, rest1, rest2, over_root, step;

  explicit UpdateNumbers(const UpdateArgs<W, T>& a) : args(a) {
    const auto& s = a.settings;
    keep = static_cast<W>(1.0 - static_cast<double>(a.lr) * static_cast<double>(s.weight_decay));
    rest1 = static_cast<W>(1.0 - static_cast<double>(s.beta1));
    rest2 = static_cast<W>(1.0 - static_cast<double>(s.beta2));
    over_root = static_cast<W>(std::sqrt(static_cast<double>(a.bias_correction2)));
    step = static_cast<W>(static_cast<double>(a.lr) / static_cast<double>(a.bias_correction1));
  }

  SRA_DEVICE void operator()(index_t four) const {
    const index_t at = args.first + 4 * four;
    W p[4];
    load(p, args.master + at);
    if (!args.frozen) {
      W m[4], v[4], g[4];
      load(m, args.m + at);
      load(v, args.v + at);
      load(g, args.gradient + at);
      for (int i = 0; i < 4; ++i) {
        g[i] *= args.clip_scale;
        m[i] += rest1 * (g[i] - m[i]);
        v[i] = args.settings.beta2 * v[i] + rest2 * (g[i] * g[i]);
        p[i] = p[i] * keep - step * (m[i] / (std::sqrt(v[i]) / over_root + args.settings.eps));
      }
      store(args.m + at, m);
      store(args.v + at, v);
      store(args.master + at, p);
      if constexpr (copies)
        if (args.values) store(args.values + at, p);
    }
    for (int n = 0; n < args.emas; ++n) {
      const W decay = args.ema_decay[n], rest = static_cast<W>(1.0 - static_cast<double>(decay));
      W e[4];
      load(e, args.ema[n] + at);
      for (int i = 0; i < 4; ++i) e[i] = decay * e[i] + rest * p[i];
      store(args.ema[n] + at, e);
      if constexpr (copies)
        if (n == 0 && args.teacher) store(args.teacher + at, e);
    }
  }
};

}  // namespace detail

/// The sum of squares of data[0, count), in double; waits for it.
template <ContextOn<Cuda> C, class W>
double squared_norm(C& context, const W* data, index_t count) {
  using Chunks = detail::SquareChunks<W>;
  const index_t chunks = (count + Chunks::chunk - 1) / Chunks::chunk;
  const Arena::Mark before = context.workspace().activations.mark();
  double* partial = context.template take<double>(chunks + 1);
  double sum = 0;
  launch(context, "gradient_norm", {double(count) * sizeof(W), 2.0 * double(count)}, [&](Cuda& cuda) {
    arch::launch_kernel(cuda.stream(), chunks, 8 * sizeof(double), Chunks{data, count, partial});
    arch::launch_kernel(cuda.stream(), 1, 8 * sizeof(double), detail::SquareTotal{partial, chunks, partial + chunks});
    cuda.download(&sum, partial + chunks, sizeof sum);
  });
  context.workspace().activations.pop(before);
  return sum;
}

/// One step of AdamW (as torch.optim.AdamW: decoupled decay first) and of the moving averages, with g = clip_scale gradient:
///   p <- (1 - lr weight_decay) p,  m <- m + (1 - beta1) (g - m),  v <- beta2 v + (1 - beta2) g^2,
///   p <- p - lr / bias_correction1 * m / (sqrt(v) / sqrt(bias_correction2) + eps),  ema <- decay ema + (1 - decay) p,
/// the last with the new p.  Reads 4 + emas and writes 3 + emas numbers per element.
/// @param args its range begins and ends at multiples of 64
template <ContextOn<Cuda> C, class W, class T>
void update_parameters(C& context, const UpdateArgs<W, T>& args) {
  const double copies = double(args.count) * sizeof(T) * ((args.values ? 1 : 0) + (args.teacher ? 1 : 0));
  const double bytes = double(args.count) * sizeof(W) * (7 + 2 * args.emas) + copies;
  launch(context, "update_parameters", {bytes, 0},
         [&](Cuda& cuda) { for_each(cuda, args.count / 4, detail::UpdateNumbers<W, T>(args)); });
}

}  // namespace sra::cuda
