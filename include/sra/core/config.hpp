// What every file shares: the index type, the mark of functions that both backends call, and the version.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>

#define SRA_VERSION_MAJOR 0
#define SRA_VERSION_MINOR 1
#define SRA_VERSION_PATCH 0

#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error "sra: expected a program without -ffast-math, its parts and -Ofast: NaN must be seen and sums keep their order"
#endif

#ifdef __CUDACC__
#define SRA_FN __host__ __device__
#else
#define SRA_FN
#endif

namespace sra {

/// Signed, so that differences and countdown loops are safe.
using index_t = std::int64_t;

/// The extent that is only known at run time: the batch.
inline constexpr index_t dynamic = -1;

/// Every buffer that the library hands out starts on a multiple of this many bytes.
inline constexpr std::size_t alignment_bytes = 256;

/// Rounds n up to a multiple of step.  @param n >= 0  @param step > 0
template <class Integer>
SRA_FN constexpr Integer round_up(Integer n, Integer step) {
  return (n + step - 1) / step * step;
}

}  // namespace sra
