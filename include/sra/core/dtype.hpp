// Element types: bf16 as plain storage, and the type that sums over each of them are kept in.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cstdint>
#include <type_traits>

namespace sra {

/// bfloat16: the upper half of a float.  Storage only; arithmetic happens in float.
struct bf16 {
  std::uint16_t bits = 0;

  bf16() = default;
  /// Rounds to nearest, ties to even; NaN stays NaN.
  SRA_FN explicit bf16(float x) {
    const auto u = __builtin_bit_cast(std::uint32_t, x);
    const bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = static_cast<std::uint16_t>(nan ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
  }
  SRA_FN explicit operator float() const { return __builtin_bit_cast(float, static_cast<std::uint32_t>(bits) << 16); }
};

/// x as S, by way of float to and from bf16.
template <class S, class T>
SRA_FN constexpr S number_cast(T x) {
  if constexpr (std::is_same_v<S, T>)
    return x;
  else if constexpr (std::is_same_v<S, bf16>)
    return bf16(static_cast<float>(x));
  else if constexpr (std::is_same_v<T, bf16>)
    return static_cast<S>(static_cast<float>(x));
  else
    return static_cast<S>(x);
}

/// The type of sums, statistics, master weights and gradients of parameters beside tensors of T:
/// double for double, float for everything else.
template <class T>
using wide_t = std::conditional_t<std::is_same_v<T, double>, double, float>;

}  // namespace sra
