// What kernels are built from: vectors of neighbouring numbers, sums over a warp and a block, loops over rows.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/view.hpp>
#include <sra/cuda/arch/device.cuh>
#include <sra/cuda/cuda.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace sra::cuda {

/// N neighbouring numbers that one load fetches, or two of 16 bytes.
template <class T, int N>
struct alignas(sizeof(T) * N < 16 ? sizeof(T) * N : 16) Vector {
  T x[N];
};

template <class W, int N, class T>
SRA_DEVICE void load(W (&to)[N], const T* from) {
  const Vector<T, N> v = *reinterpret_cast<const Vector<T, N>*>(from);
  for (int i = 0; i < N; ++i) to[i] = number_cast<W>(v.x[i]);
}
template <class T, int N, class W>
SRA_DEVICE void store(T* to, const W (&from)[N]) {
  Vector<T, N> v;
  for (int i = 0; i < N; ++i) v.x[i] = number_cast<T>(from[i]);
  *reinterpret_cast<Vector<T, N>*>(to) = v;
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

/// Runs f(i) for i in [0, count) in as many threads, or in fewer that go on in strides.
template <class F>
struct ForEach {
  static constexpr int threads = 256;
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

}  // namespace sra::cuda
