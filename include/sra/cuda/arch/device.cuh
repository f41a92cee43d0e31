// What kernels ask of the hardware: their place in the grid, barriers, shared memory, exchanges within a warp.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cstddef>

/// Marks functions of kernels.  Tests compile kernels with headers of the same names that run on the host.
#define SRA_DEVICE __device__ __forceinline__
/// Before a loop whose trip count is a constant and whose body indexes registers.
#define SRA_UNROLL _Pragma("unroll")

namespace sra::arch {

inline constexpr int warp_size = 32;

/// This thread's number in its block, the block's in the grid, and how many there are.
SRA_DEVICE int thread() { return static_cast<int>(threadIdx.x); }
SRA_DEVICE int threads() { return static_cast<int>(blockDim.x); }
SRA_DEVICE index_t block() { return blockIdx.x; }
SRA_DEVICE index_t blocks() { return gridDim.x; }

/// x, of which the compiler does not know that: what is computed from it is computed where it is used, and takes no
/// registers between.
SRA_DEVICE int computed_late(int x) {
  asm volatile("" : "+r"(x));
  return x;
}

/// Waits for all threads of the block (of the warp); what they wrote before is then seen by all of them.
SRA_DEVICE void barrier() { __syncthreads(); }
SRA_DEVICE void warp_barrier() { __syncwarp(); }
/// Whether this block is the last of `count` that call it with this counter, which is 0 before the first and after the last.
/// It then sees what all of them wrote before.  All threads of a block call it.
SRA_DEVICE bool arrives_last(unsigned* arrived, int count) {
  __syncthreads();
  bool last = false;
  if (threadIdx.x == 0) {
    const auto wraps_at = static_cast<unsigned>(count - 1);
    __threadfence();
    last = atomicInc(arrived, wraps_at) == wraps_at;
    __threadfence();
  }
  return __syncthreads_or(last) != 0;
}

/// The block's shared memory, as much as the launch asked for; starts on a multiple of 128 bytes.
SRA_DEVICE std::byte* shared_memory() {
  extern __shared__ __align__(128) unsigned char sra_shared_memory[];
  return reinterpret_cast<std::byte*>(sra_shared_memory);
}

/// x of the lane whose number differs in the bits of mask (of lane `lane`).  All lanes of the warp call it.
template <class T>
SRA_DEVICE T exchange(T x, int mask) {
  return __shfl_xor_sync(0xffffffffu, x, mask);
}
template <class T>
SRA_DEVICE T from_lane(T x, int lane) {
  return __shfl_sync(0xffffffffu, x, lane);
}

/// 1 / sqrt(x) and 2^x as the hardware has them: 2 ulp.
SRA_DEVICE float fast_rsqrt(float x) { return rsqrtf(x); }
SRA_DEVICE float fast_exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace sra::arch
