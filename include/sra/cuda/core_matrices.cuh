// Tiles in shared memory as products of warpgroups read them: 8 x 8 core matrices, and the descriptors of such tiles.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/warpgroup.cuh>
#include <sra/cuda/attention_tiles.cuh>

#include <cstdint>

namespace sra::gpu::detail {

// A product of a warpgroup reads operands from shared memory by a descriptor of 64 bits (PTX ISA, "Matrix descriptor" of
// wgmma): bits 0-13 hold the start, 16-29 the "leading dimension byte offset" (LBO), 32-45 the "stride dimension byte
// offset" (SBO), all without their lower 4 bits; 62-63 hold the swizzle, 0 for none.  Without swizzle memory consists of
// core matrices: 8 rows of 16 bytes one after the other, 128 bytes.  What LBO and SBO mean depends on which way 16 bytes
// run.  In units of 16 bytes, T = 8 numbers of bf16, the canonical layouts are (PTX ISA, "Canonical Layouts" and
// "Strides"; the same in CUTLASS, cute/atom/mma_traits_sm90_gmma.hpp, make_gmma_desc):
//   along K ("K-major"):   ((8,m),(T,2)) : ((1T,SBO),(1,LBO))     along M or N:   ((T,1,m),(8,k)) : ((1,T,SBO),(1T,LBO))
// So element (n, k) of an operand whose 16 bytes run along K lies at
//   n % 8 * 16 + n / 8 * SBO + k % 8 * 2 + k / 8 * LBO:      LBO leads to the next 8 of K, SBO to the next 8 rows;
// and of an operand whose 16 bytes run along N at
//   n % 8 * 2 + n / 8 * SBO + k % 8 * 16 + k / 8 * LBO:      LBO again leads to the next 8 of K, SBO to the next 8 of N.
// The tiles of this file have all core matrices of 8 rows beside each other, then those of the next 8 rows: columns are
// 128 bytes apart, groups of 8 rows Width / 8 times that.  Keys and values are rows of such a tile.  In q k^T rows are N
// and columns K; in p v rows are K and columns N: one layout serves both, with LBO and SBO exchanged.

/// Bytes of a core matrix, from one to the one below it, and elements up to row 8 j.
inline constexpr int core_bytes = 128;
SRA_FN constexpr int core_row_bytes(int width) { return width / 8 * core_bytes; }

/// In which row a tile's piece i of 8 numbers is, and in which column it begins.  Pieces lie one after the other, so that
/// 8 threads write one core matrix, without conflicts, and a warp reads 64 bytes of each of 8 rows.
SRA_FN constexpr Place piece_in_cores(int width, int i) { return {i / width * 8 + i % 8, i % width / 8 * 8}; }

/// Where element (row, column) lies, in elements.
SRA_FN constexpr int in_cores(int width, int row, int column) {
  return (row / 8 * (width / 8) + column / 8) * 64 + row % 8 * 8 + column % 8;
}

/// @param leading, stride bytes between core matrices, see above
SRA_FN constexpr std::uint64_t matrix_descriptor(std::uint32_t address, int leading, int stride) {
  const auto field = [](std::uint64_t bytes) { return (bytes & 0x3ffff) >> 4; };
  return field(address) | field(static_cast<std::uint64_t>(leading)) << 16 |
         field(static_cast<std::uint64_t>(stride)) << 32;
}
/// The descriptor of what lies `bytes` further on.
SRA_FN constexpr std::uint64_t moved(std::uint64_t descriptor, int bytes) {
  return descriptor + static_cast<std::uint64_t>(bytes / 16);
}
/// A tile whose columns are summed over: K runs along rows.
SRA_FN constexpr std::uint64_t by_columns(std::uint32_t address, int width) {
  return matrix_descriptor(address, core_bytes, core_row_bytes(width));
}
/// A tile whose rows are summed over; the product must transpose it.
SRA_FN constexpr std::uint64_t by_rows(std::uint32_t address, int width) {
  return matrix_descriptor(address, core_row_bytes(width), core_bytes);
}

/// Begins to copy `Rows` rows from row `first` of one head to a tile of core matrices; those from row `end` on become
/// zero.
/// @tparam Padded columns of the tile
template <int Width, int Rows, int Padded = Width>
SRA_DEVICE void copy_cores(bf16* to, HeadRows<const bf16> from, int first, int end) {
  static_assert(Rows % 8 == 0);
  for (int i = own_thread(); i < Rows * (Width / 8); i += arch::threads()) {  // as in copy_tile
    const Place p = piece_in_cores(Width, i);
    const bool inside = first + p.row < end;
    bf16* const piece = to + (Padded == Width ? 8 * i : in_cores(Padded, p.row, p.column));
    arch::copy_16_bytes(piece, from.row(inside ? first + p.row : 0) + p.column, inside);
  }
}
/// Columns from Width on are zero.
template <int Width, int Rows, int Padded>
SRA_DEVICE void pad_cores(bf16* tile) {
  for (int i = own_thread(); i < Rows * (Padded - Width) / 2; i += arch::threads())
    store_pair(tile + in_cores(Padded, i % Rows, Width + i / Rows * 2), 0);
}

/// How many of `width` columns the next product takes: the largest form of multiply_add_later, of multiply_shared_later.
SRA_FN constexpr int columns_at_once(int width) {
  return width == 72 ? 72 : width >= 64 ? 64 : width >= 32 ? 32 : width >= 16 ? 16 : 8;
}
SRA_FN constexpr int shared_columns_at_once(int width) {
  return width == 40 ? 40 : width == 72 ? 64 : columns_at_once(width);
}

/// d += a b for a warpgroup's 64 rows of a, of which a warp has 16, and Width columns of 16 rows of a tile.
/// @param b by_rows, from the first of the 16 rows on
template <int Width, int First = 0>
SRA_DEVICE void multiply_group_by_rows(float (&d)[Width / 8][4], const Pair (&a)[4], std::uint64_t b) {
  constexpr int columns = columns_at_once(Width - First);
  arch::multiply_add_later<columns, true, true, First / 8>(d, a, moved(b, First / 8 * core_bytes));
  if constexpr (First + columns < Width) multiply_group_by_rows<Width, First + columns>(d, a, b);
}

/// d += aᵀ b for 16 rows of a tile of 64 columns, a, and Columns columns of 16 rows of another, b; both by_rows.
template <int Columns, int First = 0>
SRA_DEVICE void multiply_shared_by_rows(float (&d)[Columns / 8][4], std::uint64_t a, std::uint64_t b) {
  constexpr int columns = shared_columns_at_once(Columns - First);
  arch::multiply_shared_later<columns, true, true, true, First / 8>(d, a, moved(b, First / 8 * core_bytes));
  if constexpr (First + columns < Columns) multiply_shared_by_rows<Columns, First + columns>(d, a, b);
}

}  // namespace sra::gpu::detail
