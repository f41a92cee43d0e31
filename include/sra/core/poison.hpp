// Marks popped arena memory as out of bounds for the address sanitizer, and fills it with NaN, in builds that check.
// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstring>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#include <sanitizer/asan_interface.h>
#define SRA_POISON_CLANG 1
#endif
#endif

namespace sra::detail {

#if defined(__SANITIZE_ADDRESS__) || defined(SRA_POISON_CLANG)
inline constexpr bool poisons = true;
inline void poison(void* p, std::size_t n) { ASAN_POISON_MEMORY_REGION(p, n); }
inline void unpoison(void* p, std::size_t n) { ASAN_UNPOISON_MEMORY_REGION(p, n); }
#else
inline constexpr bool poisons = false;
inline void poison(void*, std::size_t) {}
inline void unpoison(void*, std::size_t) {}
#endif
#undef SRA_POISON_CLANG

/// Bytes that stay forbidden behind every piece of an arena or a pool.
inline constexpr std::size_t red_zone = poisons ? 256 : 0;

/// Makes the piece usable, filled with NaN in checked builds: every float type reads 0xff… as NaN.
inline void hand_out(void* p, std::size_t n) {
  if constexpr (poisons) {
    unpoison(p, n);
    std::memset(p, 0xff, n);
  }
}

/// Makes the piece unusable in checked builds.
inline void take_back(void* p, std::size_t n) {
  if constexpr (poisons) poison(p, n);
}

}  // namespace sra::detail
