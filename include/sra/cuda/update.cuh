// The update on the GPU: the gradient's norm, then clipping, AdamW and the moving averages in one pass.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/core/settings.hpp>
#include <sra/cuda/kernel.cuh>

#include <algorithm>
#include <cmath>
#include <type_traits>

namespace sra::gpu {

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

/// Decides by the norm, on the device.
template <class W>
struct DecideUpdate {
  static constexpr int threads = arch::warp_size;
  static constexpr bool threads_are_independent = true;
  const double* squares;
  UpdateState<W>* state;

  SRA_DEVICE void operator()() const {
    if (arch::thread() == 0) state->decide(*squares);
  }
};

/// AdamW and averages, four neighbouring numbers at a time; see update_parameters.
template <class W, class T>
struct UpdateNumbers {
  static constexpr int threads = 256;
  static constexpr bool threads_are_independent = true;
  static constexpr bool copies = !std::is_same_v<W, T>;  ///< products read other numbers than the masters

  UpdateArgs<W, T> args;
  UpdateState<W> given;
  const UpdateState<W>* at;  ///< instead of `given`, unless null

  SRA_DEVICE void operator()() const {
    const UpdateState<W> s = at ? *at : given;
    if (s.skipped) return;
    for (index_t i = arch::block() * threads + arch::thread(); i < args.count / 4; i += arch::blocks() * threads)
      update(args.first + 4 * i, s);
  }

  SRA_DEVICE void update(index_t at_number, const UpdateState<W>& s) const {
    W p[4];
    load(p, args.master + at_number);
    if (!args.frozen) {
      W m[4], v[4], g[4];
      load(m, args.m + at_number);
      load(v, args.v + at_number);
      load(g, args.gradient + at_number);
      for (int i = 0; i < 4; ++i) {
        g[i] *= s.clip_scale;
        m[i] += s.rest1 * (g[i] - m[i]);
        v[i] = s.beta2 * v[i] + s.rest2 * (g[i] * g[i]);
        p[i] = p[i] * s.keep - s.step * (m[i] / (std::sqrt(v[i]) / s.over_root + s.eps));
      }
      store(args.m + at_number, m);
      store(args.v + at_number, v);
      store(args.master + at_number, p);
      if constexpr (copies)
        if (args.values) store(args.values + at_number, p);
    }
    SRA_UNROLL
    for (int n = 0; n < max_averages; ++n) {
      if (n >= args.emas) break;
      const W decay = s.ema_decay[n], rest = static_cast<W>(1.0 - static_cast<double>(decay));
      W e[4];
      load(e, args.ema[n] + at_number);
      for (int i = 0; i < 4; ++i) e[i] = decay * e[i] + rest * p[i];
      store(args.ema[n] + at_number, e);
      if constexpr (copies)
        if (n == 0 && args.teacher) store(args.teacher + at_number, e);
    }
  }
};

/// Calls f(cuda, sum) after launching what makes *sum, on the device, the sum of squares of data[0, count).
template <class C, class W, class F>
void with_squares(C& context, const W* data, index_t count, const F& f) {
  using Chunks = SquareChunks<W>;
  const index_t chunks = (count + Chunks::chunk - 1) / Chunks::chunk;
  const Arena::Mark before = context.workspace().activations.mark();
  double* partial = context.template take<double>(chunks + 1);
  launch(context, "gradient_norm", {double(count) * sizeof(W), 2.0 * double(count)}, [&](Cuda& cuda) {
    arch::launch_kernel(cuda.stream(), chunks, 8 * sizeof(double), Chunks{data, count, partial});
    arch::launch_kernel(cuda.stream(), 1, 8 * sizeof(double), SquareTotal{partial, chunks, partial + chunks});
    f(cuda, partial + chunks);
  });
  context.workspace().activations.pop(before);
}

}  // namespace detail

/// The sum of squares of data[0, count), in double; waits for it.
template <ContextOn<Cuda> C, class W>
double squared_norm(C& context, const W* data, index_t count) {
  double sum = 0;
  detail::with_squares(context, data, count,
                       [&](Cuda& cuda, const double* found) { cuda.download(&sum, found, sizeof sum); });
  return sum;
}

/// Has the device decide by the gradient's norm how an update goes, see UpdateState::decide; does not wait.
/// @param state on the device
template <ContextOn<Cuda> C, class W>
void decide_update(C& context, const W* gradient, index_t count, UpdateState<W>* state) {
  detail::with_squares(context, gradient, count, [&](Cuda& cuda, const double* found) {
    arch::launch_kernel(cuda.stream(), 1, 0, detail::DecideUpdate<W>{found, state});
  });
}

/// One step of AdamW (as torch.optim.AdamW: decoupled decay first) and of the moving averages, with g = clip_scale gradient:
///   p <- (1 - lr weight_decay) p,  m <- m + (1 - beta1) (g - m),  v <- beta2 v + (1 - beta2) g^2,
///   p <- p - lr / bias_correction1 * m / (sqrt(v) / sqrt(bias_correction2) + eps),  ema <- decay ema + (1 - decay) p,
/// the last with the new p.  Reads 4 + emas and writes 3 + emas numbers per element.
/// @param args its range begins and ends at multiples of 64  @param state on the device: instead of the numbers of args
template <ContextOn<Cuda> C, class W, class T>
void update_parameters(C& context, const UpdateArgs<W, T>& args, const UpdateState<W>* state = nullptr) {
  using Kernel = detail::UpdateNumbers<W, T>;
  const double copies = double(args.count) * sizeof(T) * ((args.values ? 1 : 0) + (args.teacher ? 1 : 0));
  const double bytes = double(args.count) * sizeof(W) * (7 + 2 * args.emas) + copies;
  const index_t blocks = (args.count / 4 + Kernel::threads - 1) / Kernel::threads;
  launch(context, "update_parameters", {bytes, 0}, [&](Cuda& cuda) {
    arch::launch_kernel(cuda.stream(), std::min<index_t>(32 * cuda.multiprocessors(), blocks), 0,
                        Kernel{args, UpdateState<W>(args), state});
  });
}

}  // namespace sra::gpu
