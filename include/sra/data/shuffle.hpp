// The order of an epoch as a function: no list of indices is ever made or stored.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/philox.hpp>

#include <bit>
#include <cstdint>

namespace sra {

/// The item at position i of an epoch: a bijection of [0, n), another one for every seed and epoch.  A Feistel network
/// (Luby and Rackoff 1988) of 8 rounds of Philox permutes the next power of four; results outside are permuted again
/// until they fall inside (Black and Rogaway 2002, "cycle walking"): fewer than 4 times on average, 2 for n <= 2.
/// @param i in [0, n)  @param n in [1, 2^62]
constexpr index_t shuffled(std::uint64_t seed, std::integral auto epoch, index_t i, index_t n) {
  const Rng rng(seed, Purpose::shuffle, epoch, 0);
  const auto bits = static_cast<int>(std::bit_width(static_cast<std::uint64_t>(n - 1)));
  const int half_bits = bits < 2 ? 1 : (bits + 1) / 2;
  const std::uint64_t mask = (std::uint64_t{1} << half_bits) - 1;
  auto x = static_cast<std::uint64_t>(i);
  do {
    std::uint64_t left = x >> half_bits, right = x & mask;
    for (std::uint64_t round = 0; round < 8; ++round) {
      const std::uint64_t mixed = left ^ (rng.bits((round << 32) | right) & mask);
      left = right;
      right = mixed;
    }
    x = (left << half_bits) | right;
  } while (x >= static_cast<std::uint64_t>(n));
  return static_cast<index_t>(x);
}

}  // namespace sra
