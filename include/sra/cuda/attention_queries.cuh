// What a warp keeps of its queries in attention forward, and what it does with their scores, whichever product made them.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention_tiles.cuh>

#include <cmath>
#include <cstdint>
#include <limits>

namespace sra::gpu::detail {

/// Operands of attention forward, which kernels derive from, and the steps that need nothing of a warp but its registers.
/// A warp has 16 Strips queries; a lane has rows first_of_sum and 8 below of each strip.
template <int Width, int Strips, bool Masked>
struct AttentionQueries {
  static_assert(Width % 8 == 0);
  static constexpr int tile = 64;  ///< keys of which a warp has scores at a time
  static constexpr float hidden = -std::numeric_limits<float>::infinity();

  HeadRows<bf16> o;
  float* lse;  ///< [samples, heads, queries]
  HeadRows<const bf16> q, k, v;
  const std::int32_t *query_group, *key_group;  ///< [samples, queries], [samples, keys] if Masked
  int heads, queries, keys;
  float base;  ///< scale log2(e)

  /// The head that a block of threads has, and the first of its queries, if a block has `rows` of one head.
  struct Part {
    int head, sample, column, first;
  };
  SRA_DEVICE Part part(int rows) const {
    const int blocks = (queries + rows - 1) / rows, block = static_cast<int>(arch::block());
    const int head = block / blocks;
    return {head, head / heads, head % heads * Width, block % blocks * rows};
  }

  struct Queries {
    Pair q[(Width + 15) / 16][Strips][4];  ///< the last: of 8 columns in the first two, if there are 8 left
    float o[Strips][Width / 8][4] = {};
    float top[Strips][2], sum[Strips][2];  ///< sum: of the columns that this lane has
    std::int32_t group[Strips][2];
  };
  using Scores = float[Strips][tile / 8][4];

  SRA_DEVICE void load(Queries& mine, index_t sample, int column, int first) const {
    const Place p = first_of_sum(own_lane());
    for (int i = 0; i < Strips; ++i)
      for (int part = 0; part < 2; ++part) {
        const int row = first + 16 * i + 8 * part + p.row;
        const bool inside = row < queries;
        const bf16* const from = q.head(sample, column).row(inside ? row : 0) + p.column;
        for (int d = 0; d < Width; d += 8) {
          const Pair x = inside ? load_pair(from + d) : Pair{0};
          mine.q[d / 16][i][d % 16 / 4 + part] = x;
        }
        mine.top[i][part] = hidden, mine.sum[i][part] = 0;
        if constexpr (Masked) mine.group[i][part] = query_group[sample * queries + (inside ? row : 0)];
      }
  }

  /// Keys after the last and of other groups.
  SRA_DEVICE void hide(Scores& s, const Queries& mine, index_t sample, int begin) const {
    const int first = begin + first_of_sum(own_lane()).column;
    for (int n = 0; n < tile / 8; ++n)
      for (int j = 0; j < 2; ++j) {
        const int key = first + 8 * n + j;
        const bool inside = key < keys;
        std::int32_t its = 0;
        if constexpr (Masked) its = key_group[sample * keys + (inside ? key : 0)];
        for (int i = 0; i < Strips; ++i)
          for (int part = 0; part < 2; ++part)
            if (!inside || (Masked && its != mine.group[i][part])) s[i][n][2 * part + j] = hidden;
      }
  }

  /// Takes the scores into the largest so far; what was summed before shrinks as it grows.
  SRA_DEVICE void raise(const Scores& s, Queries& mine) const {
    for (int i = 0; i < Strips; ++i)
      for (int part = 0; part < 2; ++part) {
        float top = mine.top[i][part];
        for (int n = 0; n < tile / 8; ++n) top = std::fmax(top, std::fmax(s[i][n][2 * part], s[i][n][2 * part + 1]));
        top = std::fmax(top, arch::exchange(top, 1));
        top = std::fmax(top, arch::exchange(top, 2));
        const float shrink = arch::fast_exp2(mine.top[i][part] * base - shift_for(top));
        mine.top[i][part] = top, mine.sum[i][part] *= shrink;
        for (int n = 0; n < Width / 8; ++n)
          for (int j = 2 * part; j < 2 * part + 2; ++j) mine.o[i][n][j] *= shrink;
      }
  }
  /// Scores of keys 8 First to 8 End - 1 become 2^(base (score - largest so far)), and are added to the sum.
  template <int First = 0, int End = tile / 8>
  SRA_DEVICE void weigh(Scores& s, Queries& mine) const {
    for (int i = 0; i < Strips; ++i)
      for (int part = 0; part < 2; ++part) {
        const float shift = shift_for(mine.top[i][part]);
        for (int n = First; n < End; ++n)
          for (int j = 2 * part; j < 2 * part + 2; ++j) {
            s[i][n][j] = arch::fast_exp2(s[i][n][j] * base - shift);
            mine.sum[i][part] += s[i][n][j];
          }
      }
  }

  SRA_DEVICE void write(const Queries& mine, index_t head, index_t sample, int column, int first) const {
    const Place p = first_of_sum(own_lane());
    for (int i = 0; i < Strips; ++i)
      for (int part = 0; part < 2; ++part) {
        const int row = first + 16 * i + 8 * part + p.row;
        const float sum = warp_sum<4>(mine.sum[i][part]), one_over = sum == 0 ? 0.0f : 1.0f / sum;
        if (row >= queries) continue;
        bf16* const to = o.head(sample, column).row(row) + p.column;
        for (int n = 0; n < Width / 8; ++n)
          store_pair(to + 8 * n,
                     arch::pair_of(mine.o[i][n][2 * part] * one_over, mine.o[i][n][2 * part + 1] * one_over));
        if (p.column == 0) lse[head * queries + row] = sum == 0 ? -hidden : mine.top[i][part] * base + std::log2(sum);
      }
  }

 private:
  /// Where no key has been seen yet, 2^-inf = 0 everywhere.
  SRA_DEVICE float shift_for(float top) const { return top > hidden ? top * base : 0.0f; }
};

}  // namespace sra::gpu::detail
