// The instruction sets that have kernels of their own, and which of them this machine runs.
// SPDX-License-Identifier: MIT
#pragma once

#if defined(__x86_64__) && defined(__linux__)
#include <unistd.h>
#endif

#include <cstdint>
#include <string>
#include <vector>

namespace sra::backend {

/// Instruction sets with kernels of their own, in rising order.  avx512bf16 and amx differ from avx512 in products of
/// bf16: one multiplies pairs in vectors, the other in tiles.
enum class Isa { portable, avx2, avx512, avx512bf16, amx };

inline std::string to_string(Isa isa) {
  constexpr const char* names[] = {"portable", "avx2", "avx512", "avx512bf16", "amx"};
  return names[static_cast<int>(isa)];
}

namespace detail {

/// Set only by tests that catch and emulate the instructions on tiles: Isa::amx then counts as available.
inline bool tiles_are_emulated = false;

/// Whether processor and kernel keep tiles and multiply bf16 in them.  Linux grants their state on request, once for all
/// threads of the process.  Asked only where AVX-512 is usable, so that cpuid has the leaf and xgetbv is no trap.
inline bool has_tiles() {
#if defined(__x86_64__) && defined(__linux__)
  static const bool has = [] {
    [[maybe_unused]] std::uint32_t a = 7, b = 0, c = 0, d = 0;
    asm volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    constexpr std::uint32_t amx_bf16 = 1u << 22, amx_tile = 1u << 24;
    if ((d & amx_bf16) == 0 || (d & amx_tile) == 0) return false;
    [[maybe_unused]] std::uint32_t low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    constexpr std::uint32_t tile_state = 3u << 17;  // configuration and data
    if ((low & tile_state) != tile_state) return false;
    constexpr long arch_prctl = 158, request_permission = 0x1023, tile_data = 18;
    // Not the instruction itself: nvcc 13.0.88 refuses to name the registers that it overwrites.
    return ::syscall(arch_prctl, request_permission, tile_data) == 0;
  }();
  return has;
#else
  return false;
#endif
}

}  // namespace detail

/// The instruction sets that this machine runs, in rising order; portable is always among them.
inline std::vector<Isa> available_isas() {
  std::vector<Isa> isas{Isa::portable};
#if defined(__x86_64__) || defined(__i386__)
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) isas.push_back(Isa::avx2);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma")) {
    isas.push_back(Isa::avx512);
    const bool pairs = __builtin_cpu_supports("avx512bf16");
    if (pairs) isas.push_back(Isa::avx512bf16);
    if (detail::tiles_are_emulated || (pairs && detail::has_tiles())) isas.push_back(Isa::amx);
  }
#endif
  return isas;
}

}  // namespace sra::backend
