// Measures what the CPU does at best: copies beyond its caches, and multiply-adds in registers, on all its threads.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/limits.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/clock.hpp>
#include <sra/cpu/cpu.hpp>
#include <sra/cpu/isa/peak.hpp>

#include <cstddef>
#include <cstring>
#include <type_traits>

namespace sra::backend {

/// The best of many samples of some milliseconds, in which other programs leave the machine alone for a moment.  Takes some tenths
/// of a second and 2 · `bytes` of memory.  @tparam T type of the operands of products
/// @param bytes that are copied in turn; caches should hold far less
template <class T>
Limits measured_limits(Cpu& cpu, std::type_identity<T>, std::size_t bytes = std::size_t{128} << 20) {
  constexpr std::size_t piece = std::size_t{1} << 20;
  constexpr index_t pieces = 16, turns = 1 << 14, rounds = 4;
  const auto blocks = static_cast<index_t>(bytes / (pieces * piece)) + 1;
  const std::size_t all = static_cast<std::size_t>(blocks * pieces) * piece;
  const Memory from(MemorySource::of(cpu), all), to(MemorySource::of(cpu), all);
  std::memset(from.data(), 1, all);
  std::memset(to.data(), 1, all);
  const PeakLoop loop = peak_loop<T>(cpu.isa());
  const auto rate = [&](double work, index_t items, const auto& item) {
    const double start = now_seconds();
    cpu.threads().for_each(items, item);
    return work / (now_seconds() - start);
  };
  Limits limits;
  const index_t shares = 8 * index_t{cpu.threads().size()};
  for (index_t i = 0; i < rounds * blocks; ++i) {
    const std::size_t block = static_cast<std::size_t>(i % blocks * pieces) * piece;
    const double copied = rate(2.0 * pieces * piece, pieces, [&](index_t k, int) {
      const std::size_t at = block + static_cast<std::size_t>(k) * piece;
      std::memcpy(to.data() + at, from.data() + at, piece);
    });
    const double computed =
        rate(static_cast<double>(shares * turns) * loop.flops, shares, [&](index_t, int) { loop.run(turns); });
    limits = best(limits, {copied, computed});
  }
  return limits;
}

}  // namespace sra::backend
