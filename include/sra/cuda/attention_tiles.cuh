// Tiles of attention in shared memory and in the registers of a warp: how they lie, how they are filled and multiplied.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/tensor_cores.cuh>
#include <sra/cuda/kernel.cuh>

#include <type_traits>
#include <utility>

namespace sra::gpu::detail {

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

/// Elements between the rows of a tile in shared memory: an odd number of 16 bytes, so that 8 rows below each other
/// fall on 8 different groups of 4 banks and load_matrices has no conflicts.
SRA_FN constexpr int tile_pitch(int width) { return (width / 8 | 1) * 8; }

struct Place {
  int row, column;
};
/// Of which row of a 16 x 16 tile a lane gives load_matrices the address: the 8 x 8 parts below each other come first,
/// or those beside each other.
SRA_FN constexpr Place rows_first(int lane) { return {lane % 16, lane / 16 * 8}; }
SRA_FN constexpr Place columns_first(int lane) { return {lane % 8 + lane / 16 * 8, lane / 8 % 2 * 8}; }
/// Where the first number of a lane's four of a 16 x 8 sum lies: the others are right of it, 8 rows below it, right of
/// that.
SRA_FN constexpr Place first_of_sum(int lane) { return {lane / 4, lane % 4 * 2}; }

/// f<0>() to f<N - 1>(): loops over registers that the compiler must not keep as loops.
template <int N, class F>
SRA_DEVICE void repeat(const F& f) {
  [&]<int... I>(std::integer_sequence<int, I...>) { (f.template operator()<I>(), ...); }
  (std::make_integer_sequence<int, N>{});
}

/// This thread's place, which is computed again wherever it is used: these kernels have no registers left to keep what
/// follows from it.
SRA_DEVICE int own_thread() { return arch::computed_late(arch::thread()); }
SRA_DEVICE int own_lane() { return own_thread() % arch::warp_size; }
SRA_DEVICE int own_warp() { return own_thread() / arch::warp_size; }

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
template <int Width, int Rows>
SRA_DEVICE void copy_tile(bf16* to, HeadRows<const bf16> from, int first, int end) {
  constexpr int pieces = Width / 8;
  for (int i = own_thread(); i < Rows * pieces; i += arch::threads()) {  // not unrolled: addresses would fill registers
    const int r = i / pieces, column = i % pieces * 8;
    const bool inside = first + r < end;
    arch::copy_16_bytes(to + r * tile_pitch(Width) + column, from.row(inside ? first + r : 0) + column, inside);
  }
}

// In what follows offsets into tiles are constants, so that they become parts of instructions and one register holds
// the address of a tile: registers are what these kernels have least of.

/// c += a b for 16 rows of b, of which 8 N columns lie at b + Offset in shared memory; a has 16 Strips rows.
template <int Pitch, int Offset = 0, int Strips, int N>
SRA_DEVICE void multiply_by_rows(float (&c)[Strips][N][4], const Pair (&a)[Strips][4], const bf16* b) {
  const Place p = rows_first(own_lane());
  b += p.row * Pitch + p.column;
  repeat<N / 2>([&]<int J>() {
    Pair x[4];
    arch::load_matrices<4, true, Offset + 16 * J>(x, b);
    const Pair left[2] = {x[0], x[1]}, right[2] = {x[2], x[3]};
    for (int i = 0; i < Strips; ++i) {
      arch::multiply_add(c[i][2 * J], a[i], left);
      arch::multiply_add(c[i][2 * J + 1], a[i], right);
    }
  });
  if constexpr (N % 2 != 0) {
    Pair x[2];
    arch::load_matrices<2, true, Offset + 8 * (N - 1)>(x, b);
    for (int i = 0; i < Strips; ++i) arch::multiply_add(c[i][N - 1], a[i], x);
  }
}

/// c += a b^T for 16 (with two registers: 8) columns of a and of 8 N rows at b + Offset in shared memory.
template <int Pitch, int Offset = 0, int Strips, int N, int Registers>
SRA_DEVICE void multiply_by_columns(float (&c)[Strips][N][4], const Pair (&a)[Strips][Registers], const bf16* b) {
  static_assert(N % 2 == 0);
  constexpr int pairs = Registers / 2;
  const Place p = pairs == 2 ? columns_first(own_lane()) : rows_first(own_lane());
  b += p.row * Pitch + p.column;
  repeat<N / 2>([&]<int J>() {
    Pair x[Registers];
    arch::load_matrices<Registers, false, Offset + 16 * J * Pitch>(x, b);
    Pair upper[pairs], lower[pairs];
    for (int r = 0; r < pairs; ++r) upper[r] = x[r], lower[r] = x[pairs + r];
    for (int i = 0; i < Strips; ++i) {
      arch::multiply_add(c[i][2 * J], a[i], upper);
      arch::multiply_add(c[i][2 * J + 1], a[i], lower);
    }
  });
}

/// c += a b^T for 16 Strips rows at a + A and 8 N rows at b + B, Width numbers each, in shared memory.
template <int Width, int A, int B, int Strips, int N>
SRA_DEVICE void multiply_tiles(float (&c)[Strips][N][4], const bf16* a, const bf16* b) {
  constexpr int pitch = tile_pitch(Width);
  const Place p = rows_first(own_lane());
  a += p.row * pitch + p.column;
  repeat<Width / 16>([&]<int J>() {
    Pair x[Strips][4];
    repeat<Strips>([&]<int I>() { arch::load_matrices<4, false, A + 16 * (I * pitch + J)>(x[I], a); });
    multiply_by_columns<pitch, B + 16 * J>(c, x, b);
  });
  if constexpr (Width % 16 != 0) {
    Pair x[Strips][2];
    repeat<Strips>([&]<int I>() { arch::load_matrices<2, false, A + 16 * I * pitch + Width - 8>(x[I], a); });
    multiply_by_columns<pitch, B + Width - 8>(c, x, b);
  }
}

/// Columns 16 J to 16 J + 15 of sums as a left operand of the next product.
template <int J, int Strips, int N>
SRA_DEVICE void round_sums(Pair (&to)[Strips][4], const float (&c)[Strips][N][4]) {
  for (int i = 0; i < Strips; ++i)
    for (int r = 0; r < 4; ++r) {
      const float(&x)[4] = c[i][2 * J + r / 2];
      to[i][r] = arch::pair_of(x[r % 2 * 2], x[r % 2 * 2 + 1]);
    }
}

}  // namespace sra::gpu::detail
