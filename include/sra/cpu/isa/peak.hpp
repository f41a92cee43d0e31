// Loops that do nothing but multiply and add in registers: what products can reach at most.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/dtype.hpp>
#include <sra/cpu/isa/amx.hpp>
#include <sra/cpu/isa/available.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace sra::backend {

/// A loop whose every turn computes so many FLOPs, in some nanoseconds.
struct PeakLoop {
  double flops;
  void (*run)(index_t turns);
};

namespace detail {

/// A kilobyte for each of four tiles: numbers of sizes from 0.5 to 2 and either sign, read as bf16, float, and much the same as
/// double.  Multiplying zeros a processor keeps a higher clock: with AMX by a quarter.
inline const std::array<std::uint16_t, 2048>& peak_numbers() {
  alignas(64) static const std::array<std::uint16_t, 2048> numbers = [] {
    std::array<std::uint16_t, 2048> all{};
    std::uint32_t state = 1;
    for (std::uint16_t& number : all) {
      state = state * 1664525u + 1013904223u;  // Numerical Recipes
      number = static_cast<std::uint16_t>(0x3f00u | (state >> 16 & 0x80ffu));
    }
    return all;
  }();
  return numbers;
}

// Twelve sums hide the latency of four to five cycles at two instructions a cycle.  As in tile.hpp the functions differ in
// the width of a vector and in the target alone; what they do is assembly, which no compiler shortens.
#if defined(__x86_64__)

template <class T, class Vector>
[[gnu::always_inline, gnu::target("avx2,fma")]] inline Vector peak_multiply_add(Vector sum, Vector x) {
  if constexpr (std::is_same_v<T, double>)
    asm volatile("vfmadd231pd %1, %1, %0" : "+x"(sum) : "x"(x));
  else
    asm volatile("vfmadd231ps %1, %1, %0" : "+x"(sum) : "x"(x));
  return sum;
}
template <class T, class Vector>
[[gnu::always_inline, gnu::target("avx512f,avx2,fma")]] inline Vector peak_multiply_add512(Vector sum, Vector x) {
  if constexpr (std::is_same_v<T, double>)
    asm volatile("vfmadd231pd %1, %1, %0" : "+v"(sum) : "v"(x));
  else if constexpr (std::is_same_v<T, bf16>)
    asm volatile("vdpbf16ps %1, %1, %0" : "+v"(sum) : "v"(x));
  else
    asm volatile("vfmadd231ps %1, %1, %0" : "+v"(sum) : "v"(x));
  return sum;
}

template <class T, std::size_t... R>
[[gnu::target("avx2,fma")]] void peak_avx2(index_t turns) {
  typedef float Vector __attribute__((vector_size(32)));
  Vector sum[sizeof...(R)] = {};
  Vector x;
  std::memcpy(&x, peak_numbers().data(), sizeof x);
  for (; turns > 0; --turns) ((sum[R] = peak_multiply_add<T>(sum[R], x)), ...);
}
template <class T, std::size_t... R>
[[gnu::target("avx512f,avx2,fma")]] void peak_avx512(index_t turns) {
  typedef float Vector __attribute__((vector_size(64)));
  Vector sum[sizeof...(R)] = {};
  Vector x;
  std::memcpy(&x, peak_numbers().data(), sizeof x);
  for (; turns > 0; --turns) ((sum[R] = peak_multiply_add512<T>(sum[R], x)), ...);
}
inline void peak_amx(index_t turns) {
  configure_tiles(32);
  constexpr index_t row_bytes = 64, tile = 512;
  const std::uint16_t* const numbers = peak_numbers().data();
  const auto at = [=](index_t i) { return reinterpret_cast<const float*>(numbers + i * tile); };
  load_tile<4>(at(0), row_bytes), load_tile<5>(at(1), row_bytes);
  load_tile<6>(at(2), row_bytes), load_tile<7>(at(3), row_bytes);
  for (; turns > 0; --turns)
    multiply_tiles<0, 4, 6>(), multiply_tiles<1, 4, 7>(), multiply_tiles<2, 5, 6>(), multiply_tiles<3, 5, 7>();
  release_tiles();
}
#endif

/// Sums that begin apart, so that no two of them are one; the last is written where the compiler must believe in it.
template <class T, std::size_t... R>
void peak_portable(index_t turns) {
  typedef T Vector __attribute__((vector_size(16)));
  Vector sum[] = {(Vector{} + T(R))...};
  for (; turns > 0; --turns) ((sum[R] = sum[R] * T(0.5) + T(1)), ...);
  volatile T sink = (sum[R][0] + ...);
  (void)sink;
}

template <class T, std::size_t... R>
PeakLoop peak_loop(Isa isa, std::index_sequence<R...>) {
  constexpr double sums = sizeof...(R);
#if defined(__x86_64__)
  if constexpr (std::is_same_v<T, bf16>) {
    if (isa == Isa::amx) return {4 * 2 * 16 * 16 * 32, peak_amx};
    if (isa == Isa::avx512bf16) return {sums * 2 * 32, peak_avx512<T, R...>};
  }
  using W = wide_t<T>;
  if (isa >= Isa::avx512) return {sums * 2 * 64 / sizeof(W), peak_avx512<W, R...>};
  if (isa == Isa::avx2) return {sums * 2 * 32 / sizeof(W), peak_avx2<W, R...>};
#endif
  (void)isa;
  return {sums * 2 * 16 / sizeof(wide_t<T>), peak_portable<wide_t<T>, R...>};
}

}  // namespace detail

/// The loop of an instruction set for products whose operands are of type T.
template <class T>
PeakLoop peak_loop(Isa isa) {
  return detail::peak_loop<T>(isa, std::make_index_sequence<12>());
}

}  // namespace sra::backend
