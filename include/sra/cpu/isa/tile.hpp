// The inner kernels of the matrix product: a few rows of C in registers, one function per instruction set.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/cpu.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace sra::backend {

/// c[r, j] = (accumulate ? c[r, j] : 0) + sum over i < k of a[r, i] b[i, j], for the rows of the kernel and its two
/// vectors of columns.  a[r, i] lies at a + r * a_row + i * a_step, b is a packed panel [k, columns], c has unit column
/// stride.
template <class T>
using TileFunction = void (*)(index_t k, const T* a, index_t a_row, index_t a_step, const T* b, T* c, index_t c_row,
                              bool accumulate);

/// The kernels of one instruction set: `tiles` in falling order of rows, the last with one row; or, where they must be
/// configured, the first two for any number of rows up to their own.
template <class T>
struct TileKernels {
  /// A kernel and how many rows it takes.
  struct Tile {
    index_t rows;
    TileFunction<T> function;
  };
  index_t columns;  ///< of a panel of B and of every tile
  std::array<Tile, 5> tiles;
  /// Null, or to be called by the thread before it uses a tile with another number of rows, and after the last tile.
  void (*configure)(index_t rows) = nullptr, (*release)() = nullptr;

  /// The kernel for the first of so many rows, and how many of them.
  Tile fitting(index_t rows) const {
    if (configure) return {std::min(rows, tiles[0].rows), tiles[rows > tiles[1].rows ? 0 : 1].function};
    return *std::find_if(tiles.begin(), tiles.end() - 1, [=](const Tile& tile) { return tile.rows <= rows; });
  }
};

namespace detail {

// The three functions below differ in the width of a vector and in the target alone.  They are written out because a
// body shared between targets would have its vectors taken apart before it is inlined.

template <class T, std::size_t... R>
void tile_portable(index_t k, const T* a, index_t a_row, index_t a_step, const T* b, T* c, index_t c_row,
                   bool accumulate) {
  typedef T Vector __attribute__((vector_size(16), may_alias));
  typedef T Loose __attribute__((vector_size(16), aligned(alignof(T)), may_alias));
  constexpr index_t n = 16 / sizeof(T);
  Vector left[sizeof...(R)] = {}, right[sizeof...(R)] = {};
  for (; k > 0; --k, a += a_step, b += 2 * n) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b), b1 = *reinterpret_cast<const Vector*>(b + n);
    ((left[R] += b0 * a[index_t{R} * a_row], right[R] += b1 * a[index_t{R} * a_row]), ...);
  }
  if (accumulate)
    ((left[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row),
      right[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row + n)),
     ...);
  ((*reinterpret_cast<Loose*>(c + index_t{R} * c_row) = left[R],
    *reinterpret_cast<Loose*>(c + index_t{R} * c_row + n) = right[R]),
   ...);
}

#if defined(__x86_64__) || defined(__i386__)
template <class T, std::size_t... R>
[[gnu::target("avx2,fma")]] void tile_avx2(index_t k, const T* a, index_t a_row, index_t a_step, const T* b, T* c,
                                           index_t c_row, bool accumulate) {
  typedef T Vector __attribute__((vector_size(32), may_alias));
  typedef T Loose __attribute__((vector_size(32), aligned(alignof(T)), may_alias));
  constexpr index_t n = 32 / sizeof(T);
  Vector left[sizeof...(R)] = {}, right[sizeof...(R)] = {};
  for (; k > 0; --k, a += a_step, b += 2 * n) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b), b1 = *reinterpret_cast<const Vector*>(b + n);
    ((left[R] += b0 * a[index_t{R} * a_row], right[R] += b1 * a[index_t{R} * a_row]), ...);
  }
  if (accumulate)
    ((left[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row),
      right[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row + n)),
     ...);
  ((*reinterpret_cast<Loose*>(c + index_t{R} * c_row) = left[R],
    *reinterpret_cast<Loose*>(c + index_t{R} * c_row + n) = right[R]),
   ...);
}

template <class T, std::size_t... R>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]] void tile_avx512(index_t k, const T* a, index_t a_row,
                                                                                index_t a_step, const T* b, T* c,
                                                                                index_t c_row, bool accumulate) {
  typedef T Vector __attribute__((vector_size(64), may_alias));
  typedef T Loose __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
  constexpr index_t n = 64 / sizeof(T);
  Vector left[sizeof...(R)] = {}, right[sizeof...(R)] = {};
  for (; k > 0; --k, a += a_step, b += 2 * n) {
    const Vector b0 = *reinterpret_cast<const Vector*>(b), b1 = *reinterpret_cast<const Vector*>(b + n);
    ((left[R] += b0 * a[index_t{R} * a_row], right[R] += b1 * a[index_t{R} * a_row]), ...);
  }
  if (accumulate)
    ((left[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row),
      right[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row + n)),
     ...);
  ((*reinterpret_cast<Loose*>(c + index_t{R} * c_row) = left[R],
    *reinterpret_cast<Loose*>(c + index_t{R} * c_row + n) = right[R]),
   ...);
}

/// sum + the products of two pairs of bf16 in each lane, each addition rounded to float.
[[gnu::always_inline, gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]] inline auto dot_pairs(
    auto sum, auto a, auto b) {
  asm("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
  return sum;
}

/// As tile_avx512, but every number of a and b is a pair of bf16 and k counts pairs.
template <std::size_t... R>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")]] void tile_pairs(index_t k, const float* a,
                                                                                          index_t a_row, index_t a_step,
                                                                                          const float* b, float* c,
                                                                                          index_t c_row,
                                                                                          bool accumulate) {
  typedef float Vector __attribute__((vector_size(64), may_alias));
  typedef float Loose __attribute__((vector_size(64), aligned(4), may_alias));
  typedef std::int32_t Pairs __attribute__((vector_size(64), may_alias));
  typedef std::int32_t Pair __attribute__((aligned(2), may_alias));
  constexpr index_t n = 16;
  Vector left[sizeof...(R)] = {}, right[sizeof...(R)] = {};
  for (; k > 0; --k, a += a_step, b += 2 * n) {
    const Pairs b0 = *reinterpret_cast<const Pairs*>(b), b1 = *reinterpret_cast<const Pairs*>(b + n);
    const Pair* const row = reinterpret_cast<const Pair*>(a);
    ((left[R] = dot_pairs(left[R], b0, Pairs{} + row[index_t{R} * a_row]),
      right[R] = dot_pairs(right[R], b1, Pairs{} + row[index_t{R} * a_row])),
     ...);
  }
  if (accumulate)
    ((left[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row),
      right[R] += *reinterpret_cast<const Loose*>(c + index_t{R} * c_row + n)),
     ...);
  ((*reinterpret_cast<Loose*>(c + index_t{R} * c_row) = left[R],
    *reinterpret_cast<Loose*>(c + index_t{R} * c_row + n) = right[R]),
   ...);
}
#endif

template <class T, std::size_t... R>
constexpr typename TileKernels<T>::Tile portable_tile(std::index_sequence<R...>) {
  return {sizeof...(R), tile_portable<T, R...>};
}
#if defined(__x86_64__) || defined(__i386__)
template <class T, std::size_t... R>
constexpr typename TileKernels<T>::Tile avx2_tile(std::index_sequence<R...>) {
  return {sizeof...(R), tile_avx2<T, R...>};
}
template <class T, std::size_t... R>
constexpr typename TileKernels<T>::Tile avx512_tile(std::index_sequence<R...>) {
  return {sizeof...(R), tile_avx512<T, R...>};
}
template <std::size_t... R>
constexpr TileKernels<float>::Tile pairs_tile(std::index_sequence<R...>) {
  return {sizeof...(R), tile_pairs<R...>};
}
#endif

template <int Rows>
using rows = std::make_index_sequence<Rows>;

}  // namespace detail

/// The kernels for an instruction set.
template <class T>
TileKernels<T> tile_kernels(Isa isa) {
  using namespace detail;
  constexpr auto bytes = static_cast<index_t>(sizeof(T));
#if defined(__x86_64__) || defined(__i386__)
  if (isa >= Isa::avx512)
    return {128 / bytes,
            {avx512_tile<T>(rows<14>()), avx512_tile<T>(rows<8>()), avx512_tile<T>(rows<4>()),
             avx512_tile<T>(rows<2>()), avx512_tile<T>(rows<1>())}};
  if (isa == Isa::avx2)
    return {64 / bytes,
            {avx2_tile<T>(rows<6>()), avx2_tile<T>(rows<4>()), avx2_tile<T>(rows<3>()), avx2_tile<T>(rows<2>()),
             avx2_tile<T>(rows<1>())}};
#endif
  (void)isa;
  return {32 / bytes,
          {portable_tile<T>(rows<6>()), portable_tile<T>(rows<4>()), portable_tile<T>(rows<3>()),
           portable_tile<T>(rows<2>()), portable_tile<T>(rows<1>())}};
}

#if defined(__x86_64__) || defined(__i386__)
/// The kernels that multiply pairs of bf16: every number of a and b is one pair.
inline TileKernels<float> pair_kernels() {
  using namespace detail;
  return {32,
          {pairs_tile(rows<14>()), pairs_tile(rows<8>()), pairs_tile(rows<4>()), pairs_tile(rows<2>()),
           pairs_tile(rows<1>())}};
}
#endif

}  // namespace sra::backend
