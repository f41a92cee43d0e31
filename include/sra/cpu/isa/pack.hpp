// Copies blocks of a matrix into the layout that the inner kernels of the matrix product read.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/dtype.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

namespace sra::backend {

namespace detail {

/// panel[i * width + j] = source[i + j * stride] for 4 i and 4 j: a transposition in registers.
[[gnu::always_inline]] inline void transpose_4x4(float* panel, index_t width, const float* source, index_t stride) {
  typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
  const Four a = *reinterpret_cast<const Four*>(source), b = *reinterpret_cast<const Four*>(source + stride);
  const Four c = *reinterpret_cast<const Four*>(source + 2 * stride);
  const Four d = *reinterpret_cast<const Four*>(source + 3 * stride);
  const Four ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *reinterpret_cast<Four*>(panel) = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
  *reinterpret_cast<Four*>(panel + width) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
  *reinterpret_cast<Four*>(panel + 2 * width) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
  *reinterpret_cast<Four*>(panel + 3 * width) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

}  // namespace detail

/// panel[i * width + j] = W(source[i * step + j * stride]) for i < count, j < used; 0 for used <= j < width: a panel of
/// `used` rows or columns that are `stride` apart, `count` long with `step` between neighbours.  Source and panel are
/// apart.
template <class W, class T>
void pack_panel(W* panel, index_t width, index_t used, index_t count, const T* source, index_t step, index_t stride) {
  constexpr bool same = std::is_same_v<W, T>;
  if (used < width)
    for (index_t i = 0; i < count; ++i) std::fill(panel + i * width + used, panel + (i + 1) * width, W{});
  if (stride == 1) {
    for (index_t i = 0; i < count; ++i) {
      if constexpr (same)
        std::memcpy(panel + i * width, source + i * step, static_cast<std::size_t>(used) * sizeof(T));
      else
        for (index_t j = 0; j < used; ++j) panel[i * width + j] = static_cast<W>(source[i * step + j]);
    }
    return;
  }
  constexpr index_t line = 64 / sizeof(T);  // whole cache lines of the source at a time
  for (index_t first = 0; first < count; first += line) {
    const index_t last = std::min(count, first + line);
    index_t j = 0;
    if constexpr (same && std::is_same_v<T, float>)
      if (step == 1 && last - first == line)
        for (; j + 4 <= used; j += 4)
          for (index_t i = first; i < last; i += 4)
            detail::transpose_4x4(panel + i * width + j, width, source + j * stride + i, stride);
    for (; j < used; ++j)
      for (index_t i = first; i < last; ++i) panel[i * width + j] = static_cast<W>(source[i * step + j * stride]);
  }
}

namespace detail {

/// Two neighbours along K as the processor multiplies them: the first in the lower half.
[[gnu::always_inline]] inline std::uint32_t pair_of(bf16 low, bf16 high) {
  return std::uint32_t{low.bits} | std::uint32_t{high.bits} << 16;
}

}  // namespace detail

#if defined(__x86_64__) || defined(__i386__)
namespace detail {

template <class T>
[[gnu::always_inline]] inline bf16 as_half(T x) {
  if constexpr (std::is_same_v<T, bf16>)
    return x;
  else
    return bf16(static_cast<float>(x));
}

/// Pairs of `Block` neighbours of two rows at a time, while they last.
template <index_t Block, class T>
[[gnu::always_inline]] inline index_t pack_pair_blocks(float* to, index_t j, index_t used, const T* low,
                                                       const T* high) {
  for (; j + Block <= used; j += Block) {
    std::uint32_t pairs[Block];
    for (index_t q = 0; q < Block; ++q) pairs[q] = pair_of(as_half(low[j + q]), as_half(high[j + q]));
    std::memcpy(to + j, pairs, sizeof(pairs));
  }
  return j;
}

}  // namespace detail

namespace detail {

typedef std::int32_t PairVector __attribute__((vector_size(64), may_alias));
typedef std::int32_t LoosePairs __attribute__((vector_size(64), aligned(2), may_alias));

/// Pairs of 16 neighbours of two rows.
[[gnu::target("avx512f"), gnu::always_inline]] inline void pair_rows(float* to, const bf16* low, const bf16* high) {
  typedef std::uint16_t Halves __attribute__((vector_size(32), aligned(2), may_alias));
  typedef std::uint32_t Wide __attribute__((vector_size(64)));
  const Wide pairs = __builtin_convertvector(*reinterpret_cast<const Halves*>(low), Wide) |
                     __builtin_convertvector(*reinterpret_cast<const Halves*>(high), Wide) << 16;
  *reinterpret_cast<LoosePairs*>(to) = reinterpret_cast<PairVector>(pairs);
}

/// One of four equal steps of a transposition: interleaves row i with row i + 8, for I = 0 ... 7.
template <std::size_t... I>
[[gnu::target("avx512f"), gnu::always_inline]] inline void interleave(PairVector (&v)[16], std::index_sequence<I...>) {
  const PairVector low[] = {
      __builtin_shufflevector(v[I], v[I + 8], 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)...};
  const PairVector high[] = {
      __builtin_shufflevector(v[I], v[I + 8], 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)...};
  ((v[2 * I] = low[I], v[2 * I + 1] = high[I]), ...);
}

[[gnu::target("avx512f"), gnu::always_inline]] inline void transpose(PairVector (&v)[16]) {
  interleave(v, std::make_index_sequence<8>());
  interleave(v, std::make_index_sequence<8>());
  interleave(v, std::make_index_sequence<8>());
  interleave(v, std::make_index_sequence<8>());
}

/// panel[i * width + j] = pair i of the row at source + j * stride, for 16 pairs i and 16 rows j.
template <std::size_t... R>
[[gnu::target("avx512f"), gnu::always_inline]] inline void transpose_pairs(float* panel, index_t width,
                                                                           const bf16* source, index_t stride,
                                                                           std::index_sequence<R...>) {
  PairVector v[] = {*reinterpret_cast<const LoosePairs*>(source + index_t{R} * stride)...};
  transpose(v);
  ((*reinterpret_cast<LoosePairs*>(panel + index_t{R} * width) = v[R]), ...);
}

}  // namespace detail

/// As pack_panel, in pairs of bf16 along K: the 32 bits at panel[i * width + j] hold source[2 i] and source[2 i + 1] of row
/// or column j; past an odd count stands 0.
template <class T>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]] void pack_pairs(float* panel, index_t width,
                                                                               index_t used, index_t count,
                                                                               const T* source, index_t step,
                                                                               index_t stride) {
  index_t whole_rows = 0, whole_pairs = 0;  // of the blocks that are transposed in registers
  if constexpr (std::is_same_v<T, bf16>)
    if (step == 1) {
      whole_rows = used / 16 * 16, whole_pairs = count / 32 * 16;
      for (index_t j = 0; j < whole_rows; j += 16)
        for (index_t i = 0; i < whole_pairs; i += 16)
          detail::transpose_pairs(panel + i * width + j, width, source + j * stride + 2 * i, stride,
                                  std::make_index_sequence<16>());
    }
  for (index_t i = 0; 2 * i < count; ++i) {
    const T *low = source + 2 * i * step, *high = low + step;
    float* const to = panel + i * width;
    const bool both = 2 * i + 1 < count;
    index_t j = i < whole_pairs ? whole_rows : 0;
    if (both && stride == 1) {
      if constexpr (std::is_same_v<T, bf16>)
        for (; j + 16 <= used; j += 16) detail::pair_rows(to + j, low + j, high + j);
      j = detail::pack_pair_blocks<16>(to, j, used, low, high);
      j = detail::pack_pair_blocks<4>(to, j, used, low, high);
    }
    for (; j < width; ++j) {
      std::uint32_t pair = 0;
      if (j < used)
        pair = detail::pair_of(detail::as_half(low[j * stride]), both ? detail::as_half(high[j * stride]) : bf16{});
      std::memcpy(to + j, &pair, sizeof(pair));
    }
  }
}

namespace detail {

/// panel[r * pitch + i] = block[i * 16 + r] for r < used and i < 16.
[[gnu::target("avx512f")]] inline void transpose_block(float* panel, index_t pitch, index_t used, const float* block) {
  PairVector rows[16];
  std::memcpy(rows, block, sizeof(rows));
  transpose(rows);
  for (index_t r = 0; r < used; ++r) std::memcpy(panel + r * pitch, rows + r, sizeof(PairVector));
}

/// to[i] = from[i] in bf16 for i < count, 0 for the rest of `room`.
template <class T>
[[gnu::always_inline]] inline void copy_halves(float* to, index_t room, const T* from, index_t count) {
  std::byte* const out = reinterpret_cast<std::byte*>(to);
  const auto at = [](index_t i) { return static_cast<std::size_t>(i) * sizeof(bf16); };
  if constexpr (std::is_same_v<T, bf16>) {
    std::memcpy(out, from, at(count));
  } else {
    constexpr index_t block = 32;
    for (index_t i = 0; i < count; i += block) {
      bf16 halves[block];
      if (i + block <= count)
        for (index_t q = 0; q < block; ++q) halves[q] = as_half(from[i + q]);
      else
        for (index_t q = 0; q < count - i; ++q) halves[q] = as_half(from[i + q]);
      std::memcpy(out + at(i), halves, at(std::min(block, count - i)));
    }
  }
  std::memset(out + at(count), 0, at(room - count));
}

}  // namespace detail

/// As pack_pairs for `used` rows, but a row's pairs lie together: panel[j * pitch + i] holds source[2 i] and
/// source[2 i + 1] of row j, and 0 past the count.  @param pitch a multiple of 16, at least half of the count
template <class T>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]] void pack_pair_rows(float* panel, index_t pitch,
                                                                                   index_t used, index_t count,
                                                                                   const T* source, index_t step,
                                                                                   index_t stride) {
  if (count == 0) return;
  if (step == 1) {
    for (index_t j = 0; j < used; ++j) detail::copy_halves(panel + j * pitch, 2 * pitch, source + j * stride, count);
    return;
  }
  constexpr index_t side = 16;
  alignas(64) float block[side * side];
  for (index_t i = 0; i < pitch; i += side)
    for (index_t j = 0; j < used; j += side) {
      const index_t numbers = std::clamp<index_t>(count - 2 * i, 0, 2 * side), pairs = (numbers + 1) / 2;
      const index_t rows = std::min(side, used - j);
      pack_pairs(block, side, rows, numbers, source + 2 * i * step + j * stride, step, stride);
      std::fill(block + pairs * side, block + side * side, 0.0f);
      detail::transpose_block(panel + j * pitch + i, pitch, rows, block);
    }
}
#endif

}  // namespace sra::backend
