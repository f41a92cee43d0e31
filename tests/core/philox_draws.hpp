// A hash of draws of every kind, which no compiler and no flag may change: for philox_test and philox_bits.sh.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/philox.hpp>

#include <cstdint>

namespace sra::test {

inline constexpr std::uint64_t hash_of_draws_expected = 7637769506481738492u;

inline std::uint64_t hash_of_draws() {
  const Rng rng(42, Purpose::noise, 7, 123456789012);
  std::uint64_t hash = 0xcbf29ce484222325u;
  const auto take = [&](std::uint64_t bits) { hash = (hash ^ bits) * 0x100000001b3u; };
  for (int i = 0; i < 100000; ++i) {
    take(rng.bits(i));
    take(__builtin_bit_cast(std::uint32_t, rng.uniform(i)));
    take(__builtin_bit_cast(std::uint64_t, rng.uniform_double(i)));
    take(static_cast<std::uint64_t>(rng.below(i + 1, i)));
    take(__builtin_bit_cast(std::uint32_t, rng.normal(i)));
  }
  return hash;
}

}  // namespace sra::test
