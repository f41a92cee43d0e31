// The arch header of this name on the host: threads are fibers of emulated::Block.
// SPDX-License-Identifier: MIT
#pragma once

#include "block.hpp"

#include <sra/core/config.hpp>

#include <atomic>
#include <cmath>
#include <cstddef>

// g++ 12 ends with an internal error when it vectorises some of these functions.
#if defined(__clang__)
#define SRA_DEVICE inline
#else
#define SRA_DEVICE __attribute__((optimize("no-tree-vectorize"))) inline
#endif
#define SRA_UNROLL

namespace sra::arch {

inline constexpr int warp_size = 32;

inline int thread() { return emulated::Block::current()->thread(); }
inline int threads() { return emulated::Block::current()->threads(); }
inline index_t block() { return emulated::Block::current()->number(); }
inline index_t blocks() { return emulated::Block::current()->blocks(); }

inline int computed_late(int x) { return x; }

inline void barrier() { emulated::Block::current()->barrier(); }
inline void warp_barrier() { emulated::Block::current()->warp_barrier(); }
/// Blocks run one after the other, but only this counter orders what they do.
inline bool arrives_last(unsigned* arrived, int count) {
  const std::atomic_ref<unsigned> counter(*arrived);
  barrier();
  if (thread() == 0) counter.fetch_add(1, std::memory_order_acq_rel);
  barrier();
  const bool last = counter.load(std::memory_order_acquire) == static_cast<unsigned>(count);
  barrier();
  if (last && thread() == 0) counter.store(0, std::memory_order_release);
  return last;
}

inline std::byte* shared_memory() { return emulated::Block::current()->shared(); }

template <class T>
T exchange(T x, int mask) {
  return emulated::Block::current()->meet(x, 1)(thread() % warp_size ^ mask);
}
template <class T>
T from_lane(T x, int lane) {
  return emulated::Block::current()->meet(x, 2)(lane);
}

inline float fast_rsqrt(float x) { return 1.0f / std::sqrt(x); }
inline float fast_exp2(float x) { return std::exp2(x); }

}  // namespace sra::arch
