// Tiles of attention in shared memory and in the registers of a warp: how they lie, how they are filled and multiplied.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/tensor_cores.cuh>
#include <sra/cuda/kernel.cuh>

namespace sra::backend::detail {

using arch::Pair;

/// Where an operand lies: the row of token t of one head of one sample, after head().
template <class T>
struct HeadRows {
  T* data = nullptr;
  index_t token = 0, sample = 0;  ///< elements between tokens, between samples

  /// The rows of sample s that start `column` elements later.
  SRA_DEVICE HeadRows head(index_t s, index_t column) const { return {data + s * sample + column, token, sample}; }
  SRA_DEVICE T* row(index_t t) const { return data + t * token; }
};

/// The same for a gradient, and what happens to it.
template <class T>
struct HeadGrad {
  HeadRows<T> rows{};
  GradMode mode = GradMode::ignore;

  SRA_DEVICE HeadGrad head(index_t s, index_t column) const { return {rows.head(s, column), mode}; }
};

/// Elements between the rows of a tile in shared memory: an odd number of 16 bytes, so that 8 rows below each other fall on
/// 8 different groups of 4 banks and load_matrices has no conflicts.
SRA_FN constexpr int tile_pitch(int width) { return (width / 8 | 1) * 8; }

struct Place {
  int row, column;
};
/// Of which row of a 16 x 16 tile a lane gives load_matrices the address: the 8 x 8 parts below each other come first, or
/// those beside each other.
SRA_FN constexpr Place rows_first(int lane) { return {lane % 16, lane / 16 * 8}; }
SRA_FN constexpr Place columns_first(int lane) { return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8}; }
/// Where the first number of a lane's four of a 16 x 8 sum lies: the others are right of it, 8 rows below it, right of that.
SRA_FN constexpr Place first_of_sum(int lane) { return {lane / 4, lane % 4 * 2}; }

SRA_DEVICE int own_lane() { return arch::thread() % arch::warp_size; }
SRA_DEVICE int own_warp() { return arch::thread() / arch::warp_size; }

SRA_DEVICE float low_of(Pair p) { return __builtin_bit_cast(float, p << 16); }
SRA_DEVICE float high_of(Pair p) { return __builtin_bit_cast(float, p & 0xffff0000u); }
SRA_DEVICE Pair load_pair(const bf16* from) {
  return __builtin_bit_cast(Pair, *reinterpret_cast<const Vector<bf16, 2>*>(from));
}
SRA_DEVICE void store_pair(bf16* to, Pair p) {
  *reinterpret_cast<Vector<bf16, 2>*>(to) = __builtin_bit_cast(Vector<bf16, 2>, p);
}
/// to = or += (x, y), rounded once.
SRA_DEVICE void put_pair(bf16* to, float x, float y, bool add) {
  if (add) {
    const Pair before = load_pair(to);
    x += low_of(before), y += high_of(before);
  }
  store_pair(to, arch::pair_of(x, y));
}

/// Begins to copy `Rows` rows from row `first` of one head to a tile; those from row `end` on become zero.
template <int Width, int Rows, int Threads>
SRA_DEVICE void copy_tile(bf16* to, HeadRows<const bf16> from, int first, int end) {
  constexpr int pieces = Width / 8;
  for (int i = arch::thread(); i < Rows * pieces; i += Threads) {
    const int r = i / pieces, column = i % pieces * 8;
    const bool inside = first + r < end;
    arch::copy_16_bytes(to + r * tile_pitch(Width) + column, from.row(inside ? first + r : 0) + column, inside);
  }
}

/// c += a b for 16 rows of b, of which 8 N columns lie at b in shared memory; a has 16 Strips rows.
template <int Pitch, int Strips, int N>
SRA_DEVICE void multiply_by_rows(float (&c)[Strips][N][4], const Pair (&a)[Strips][4], const bf16* b) {
  const Place p = rows_first(own_lane());
  b += p.row * Pitch + p.column;
  for (int n = 0; n + 1 < N; n += 2) {
    Pair x[4];
    arch::load_matrices<4, true>(x, b + 8 * n);
    const Pair left[2] = {x[0], x[1]}, right[2] = {x[2], x[3]};
    for (int i = 0; i < Strips; ++i) {
      arch::multiply_add(c[i][n], a[i], left);
      arch::multiply_add(c[i][n + 1], a[i], right);
    }
  }
  if constexpr (N % 2 != 0) {
    Pair x[2];
    arch::load_matrices<2, true>(x, b + 8 * (N - 1));
    for (int i = 0; i < Strips; ++i) arch::multiply_add(c[i][N - 1], a[i], x);
  }
}

/// c += a b^T for 16 columns of a and of 8 N rows at b in shared memory.
template <int Pitch, int Strips, int N>
SRA_DEVICE void multiply_by_columns(float (&c)[Strips][N][4], const Pair (&a)[Strips][4], const bf16* b) {
  static_assert(N % 2 == 0);
  const Place p = columns_first(own_lane());
  b += p.row * Pitch + p.column;
  for (int n = 0; n < N; n += 2) {
    Pair x[4];
    arch::load_matrices<4>(x, b + 8 * n * Pitch);
    const Pair upper[2] = {x[0], x[1]}, lower[2] = {x[2], x[3]};
    for (int i = 0; i < Strips; ++i) {
      arch::multiply_add(c[i][n], a[i], upper);
      arch::multiply_add(c[i][n + 1], a[i], lower);
    }
  }
}
/// The same for 8 columns.
template <int Pitch, int Strips, int N>
SRA_DEVICE void multiply_by_columns(float (&c)[Strips][N][4], const Pair (&a)[Strips][2], const bf16* b) {
  static_assert(N % 2 == 0);
  b += rows_first(own_lane()).row * Pitch;
  for (int n = 0; n < N; n += 2) {
    Pair x[2];
    arch::load_matrices<2>(x, b + 8 * n * Pitch);
    const Pair upper[1] = {x[0]}, lower[1] = {x[1]};
    for (int i = 0; i < Strips; ++i) {
      arch::multiply_add(c[i][n], a[i], upper);
      arch::multiply_add(c[i][n + 1], a[i], lower);
    }
  }
}

/// 16 (or, with two registers, 8) columns of 16 Strips rows at `from` in shared memory, as left operands.
template <int Pitch, int Strips, int Registers>
SRA_DEVICE void load_left(Pair (&a)[Strips][Registers], const bf16* from) {
  const Place p = rows_first(own_lane());
  for (int i = 0; i < Strips; ++i) arch::load_matrices(a[i], from + (16 * i + p.row) * Pitch + p.column);
}

/// c += a b^T for 16 Strips rows of a and 8 N rows of b, Width numbers each, in shared memory.
template <int Width, int Strips, int N>
SRA_DEVICE void multiply_tiles(float (&c)[Strips][N][4], const bf16* a, const bf16* b) {
  constexpr int pitch = tile_pitch(Width);
  for (int i = 0; i + 16 <= Width; i += 16) {
    Pair x[Strips][4];
    load_left<pitch>(x, a + i);
    multiply_by_columns<pitch>(c, x, b + i);
  }
  if constexpr (Width % 16 != 0) {
    Pair x[Strips][2];
    load_left<pitch>(x, a + Width - 8);
    multiply_by_columns<pitch>(c, x, b + Width - 8);
  }
}

/// Sums as left operands of the next product: to[j] is their columns 16 j to 16 j + 15.
template <int Strips, int N>
SRA_DEVICE void round_sums(Pair (&to)[N / 2][Strips][4], const float (&c)[Strips][N][4]) {
  for (int j = 0; j < N / 2; ++j)
    for (int i = 0; i < Strips; ++i)
      for (int r = 0; r < 4; ++r) {
        const float(&x)[4] = c[i][2 * j + r / 2];
        to[j][i][r] = arch::pair_of(x[r % 2 * 2], x[r % 2 * 2 + 1]);
      }
}

}  // namespace sra::backend::detail
