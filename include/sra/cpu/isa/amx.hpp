// The inner kernels of the matrix product on the tiles of AMX: 32 x 32 numbers of C in four of them.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/isa/tile.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>

#if defined(__x86_64__)
namespace sra::backend {

namespace detail {

// Tiles 0 to 3 are C, by rows; 4 and 5 its rows of A, 6 and 7 its columns of B.  The instructions are written out because
// g++ 12 does not know that its intrinsics for loads read memory, nor that a configuration has 64 bytes.

/// The upper 16 of the rows of C and A lie in tiles 0, 1, 4, the others in 2, 3, 5.  Zeroes all tiles.
inline void configure_tiles(index_t rows) {
  const auto upper = static_cast<std::uint8_t>(std::min<index_t>(rows, 16));
  const auto lower = static_cast<std::uint8_t>(rows - upper);
  struct alignas(64) {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  } configuration;
  const std::uint8_t heights[] = {upper, upper, lower, lower, upper, lower, 16, 16};
  for (std::size_t i = 0; i < std::size(heights); ++i) {
    configuration.rows[i] = heights[i];
    configuration.row_bytes[i] = heights[i] ? 64 : 0;
  }
  asm volatile("ldtilecfg %0" ::"m"(configuration));
}

/// Without it every switch between threads saves the tiles.
inline void release_tiles() { asm volatile("tilerelease"); }

template <int Tile>
[[gnu::always_inline]] inline void zero_tile() {
  asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
}
/// @param stride bytes between rows
template <int Tile>
[[gnu::always_inline]] inline void load_tile(const float* from, index_t stride) {
  asm volatile("tileloadd (%0,%1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(Tile) : "memory");
}
template <int Tile>
[[gnu::always_inline]] inline void store_tile(float* to, index_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1)" ::"r"(to), "r"(stride), "i"(Tile) : "memory");
}
template <int C, int A, int B>
[[gnu::always_inline]] inline void multiply_tiles() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}

/// As tile_pairs, for as many rows as are configured: at most 16, or 17 to 32 if Lower.  @param k a multiple of 16
template <bool Lower>
void tile_amx(index_t k, const float* a, index_t a_row, index_t, const float* b, float* c, index_t c_row,
              bool accumulate) {
  constexpr index_t side = 16, bytes = sizeof(float), b_stride = 2 * side * bytes;
  const index_t a_stride = bytes * a_row, c_stride = bytes * c_row;
  if (accumulate) {
    load_tile<0>(c, c_stride), load_tile<1>(c + side, c_stride);
    if constexpr (Lower) load_tile<2>(c + side * c_row, c_stride), load_tile<3>(c + side * c_row + side, c_stride);
  } else {
    zero_tile<0>(), zero_tile<1>();
    if constexpr (Lower) zero_tile<2>(), zero_tile<3>();
  }
  for (; k > 0; k -= side, a += side, b += side * 2 * side) {
    load_tile<6>(b, b_stride), load_tile<4>(a, a_stride), load_tile<7>(b + side, b_stride);
    if constexpr (Lower) load_tile<5>(a + side * a_row, a_stride);
    multiply_tiles<0, 4, 6>(), multiply_tiles<1, 4, 7>();
    if constexpr (Lower) multiply_tiles<2, 5, 6>(), multiply_tiles<3, 5, 7>();
  }
  store_tile<0>(c, c_stride), store_tile<1>(c + side, c_stride);
  if constexpr (Lower) store_tile<2>(c + side * c_row, c_stride), store_tile<3>(c + side * c_row + side, c_stride);
}

}  // namespace detail

/// The kernels that multiply pairs of bf16 on tiles: k is a multiple of 16 pairs, and those of a row of A lie together.
inline TileKernels<float> amx_kernels() {
  using namespace detail;
  return {32, {{{32, tile_amx<true>}, {16, tile_amx<false>}}}, configure_tiles, release_tiles};
}

}  // namespace sra::backend
#endif
