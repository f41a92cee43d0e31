// What kernels are built from: vectors of neighbouring numbers, sums over a warp and a block, loops over rows.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/view.hpp>
#include <sra/cuda/arch/device.cuh>
#include <sra/cuda/arch/tensor_cores.cuh>
#include <sra/cuda/cuda.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace sra::gpu {

/// Both numbers of a pair.
SRA_DEVICE float low_of(arch::Pair p) { return __builtin_bit_cast(float, p << 16); }
SRA_DEVICE float high_of(arch::Pair p) { return __builtin_bit_cast(float, p & 0xffff0000u); }

/// N neighbouring numbers that one load fetches, or two of 16 bytes.  Four of bf16 and more are in pairs: nvcc 13.0.88 keeps each
/// part of a vector of 16-bit numbers in a register of its own, and may store it by itself.
template <class T, int N>
struct [[gnu::may_alias]] alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vector {
  T x[N];
};
template <class T, int N>
inline constexpr bool in_pairs = std::is_same_v<T, bf16>&& N % 4 == 0;
/// The same in registers of two numbers.
template <int N>
  requires in_pairs<bf16, N>
struct [[gnu::may_alias]] alignas(2 * N < 16 ? 2 * N : 16) Vector<bf16, N> {
  arch::Pair x[N / 2];
};

template <int N, class T>
SRA_DEVICE Vector<T, N> fetch(const T* from) {
  return *reinterpret_cast<const Vector<T, N>*>(from);
}
template <class T, int N>
SRA_DEVICE void store(T* to, const Vector<T, N>& from) {
  *reinterpret_cast<Vector<T, N>*>(to) = from;
}

template <class W, int N, class T>
SRA_DEVICE void widen(W (&to)[N], const Vector<T, N>& from) {
  if constexpr (in_pairs<T, N>) {
    for (int i = 0; i < N; i += 2) to[i] = low_of(from.x[i / 2]), to[i + 1] = high_of(from.x[i / 2]);
  } else {
    for (int i = 0; i < N; ++i) to[i] = number_cast<W>(from.x[i]);
  }
}
/// Rounds to nearest even.
template <class T, int N, class W>
SRA_DEVICE Vector<T, N> rounded(const W (&from)[N]) {
  Vector<T, N> to;
  if constexpr (in_pairs<T, N>) {
    for (int i = 0; i < N; i += 2)
      to.x[i / 2] = arch::pair_of(static_cast<float>(from[i]), static_cast<float>(from[i + 1]));
  } else {
    for (int i = 0; i < N; ++i) to.x[i] = number_cast<T>(from[i]);
  }
  return to;
}

template <class W, int N, class T>
SRA_DEVICE void load(W (&to)[N], const T* from) {
  widen(to, fetch<N>(from));
}
template <class T, int N, class W>
SRA_DEVICE void store(T* to, const W (&from)[N]) {
  store(to, rounded<T>(from));
}
/// to += from, rounded once.
template <class T, int N, class W>
SRA_DEVICE void accumulate(T* to, const W (&from)[N]) {
  W sum[N];
  load(sum, to);
  for (int i = 0; i < N; ++i) sum[i] += from[i];
  store(to, sum);
}
/// As a gradient's mode says.
template <class T, int N, class W>
SRA_DEVICE void put(T* to, const W (&from)[N], bool add) {
  if (add)
    accumulate(to, from);
  else
    store(to, from);
}

/// Whether rows of a view may be read in vectors of N numbers.
template <int N, class T, class S>
bool takes_vectors(const View<T, S>& v) {
  constexpr std::size_t bytes = std::min<std::size_t>(16, sizeof(T) * N);
  return S::width % N == 0 && v.pitch % N == 0 && v.stride % N == 0 &&
         reinterpret_cast<std::uintptr_t>(v.data) % bytes == 0;
}

/// The sum of x over `Lanes` neighbouring lanes, in all of them; the same order of additions everywhere.
template <int Lanes = arch::warp_size, class T>
SRA_DEVICE T warp_sum(T x) {
  for (int mask = Lanes / 2; mask > 0; mask /= 2) x += arch::exchange(x, mask);
  return x;
}
/// The sums of K numbers, each over the warp: lane l gets that of x[l / (32 / K)].  With K a power of two this takes K + 4 − log2 K
/// exchanges and not 5 K; x is lost.
template <int K, class T>
SRA_DEVICE T warp_sums(T (&x)[K]) {
  int mask = arch::warp_size / 2;
  SRA_UNROLL
  for (int left = K / 2; left > 0; left /= 2, mask /= 2) {  // a lane keeps half of its numbers and hands on the others
    const bool upper = (arch::thread() & mask) != 0;
    SRA_UNROLL
    for (int k = 0; k < left; ++k) {
      const T mine = upper ? x[k + left] : x[k], other = upper ? x[k] : x[k + left];
      x[k] = mine + arch::exchange(other, mask);
    }
  }
  return warp_sum<arch::warp_size / K>(x[0]);
}
/// The sum of x over the block, in all threads.  @param room shared memory of one T a warp, free again after a barrier
template <class T>
SRA_DEVICE T block_sum(T x, T* room) {
  x = warp_sum(x);
  const int warp = arch::thread() / arch::warp_size, warps = arch::threads() / arch::warp_size;
  if (arch::thread() % arch::warp_size == 0) room[warp] = x;
  arch::barrier();
  T sum = room[0];
  for (int w = 1; w < warps; ++w) sum += room[w];
  return sum;
}

/// Runs f(i) for i in [0, count) in as many threads, or in fewer that go on in strides.  F may say how many blocks a
/// multiprocessor is to have room for.
template <class F>
struct ForEach {
  static constexpr int threads = 256, blocks_together = [] {
    if constexpr (requires { F::blocks_together; })
      return F::blocks_together;
    else
      return 0;
  }();
  static constexpr bool threads_are_independent = true;
  F f;
  index_t count;

  SRA_DEVICE void operator()() const {
    for (index_t i = arch::block() * threads + arch::thread(); i < count; i += arch::blocks() * threads) f(i);
  }
};

/// Launches f for every i in [0, count).
template <class F>
void for_each(Cuda& cuda, index_t count, const F& f) {
  constexpr int threads = ForEach<F>::threads;
  const index_t most = 32 * cuda.multiprocessors();
  arch::launch_kernel(cuda.stream(), std::min(most, (count + threads - 1) / threads), 0, ForEach<F>{f, count});
}

}  // namespace sra::gpu
