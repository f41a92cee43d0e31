// Attention forward on tensor cores: bf16, head sizes that are multiples of 8, any number of tokens.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention_tiles.cuh>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace sra::cuda::detail {

/// o = softmax(scale q k^T) v and its log-sum-exp.  A warp has 16 Strips queries, their sums stay in registers; keys
/// and values pass through shared memory in tiles of 64, of which the next is copied while one is used.  Sums and
/// statistics in float, in the order of the keys; FlashAttention-2, arXiv:2307.08691, algorithm 1.
/// Reads q, writes o once; reads k and v once per block of queries, from the second-level cache but for the first time.
template <int Width, int Strips, int Warps, bool Masked>
struct AttentionForward {
  static_assert(Width % 8 == 0);
  static constexpr int threads = arch::warp_size * Warps;
  static constexpr int rows = 16 * Strips * Warps;  ///< queries of a block
  static constexpr int tile = 64, pitch = tile_pitch(Width);
  static constexpr std::size_t shared_bytes = sizeof(bf16) * 4 * tile * pitch;
  static constexpr float hidden = -std::numeric_limits<float>::infinity();

  HeadRows<bf16> o;
  float* lse;  ///< [samples, heads, queries]
  HeadRows<const bf16> q, k, v;
  const std::int32_t *query_group, *key_group;  ///< [samples, queries], [samples, keys] if Masked
  int heads, queries, keys;
  float base;  ///< scale log2(e)

  static index_t blocks(index_t samples, index_t heads, index_t queries) {
    return samples * heads * ((queries + rows - 1) / rows);
  }

  SRA_DEVICE void operator()() const {
    const int row_blocks = (queries + rows - 1) / rows, block = static_cast<int>(arch::block());
    const int head = block / row_blocks, sample = head / heads, column = head % heads * Width;
    const int first = (block % row_blocks * Warps + own_warp()) * 16 * Strips;
    const HeadRows<const bf16> key_rows = k.head(sample, column), value_rows = v.head(sample, column);
    bf16* const shared = reinterpret_cast<bf16*>(arch::shared_memory());
    copy_tiles(shared, key_rows, value_rows, 0);
    Queries mine;
    load(mine, sample, column, first);
    for (int begin = 0; begin < keys; begin += tile) {
      const int stage = begin / tile & 1;
      if (begin + tile < keys) copy_tiles(shared + (stage ^ 1) * 2 * tile * pitch, key_rows, value_rows, begin + tile);
      arch::commit_copies();
      arch::wait_for_copies<1>();
      arch::barrier();
      const bf16* const at = shared + stage * 2 * tile * pitch;
      float s[Strips][tile / 8][4] = {};
      multiply_queries(s, mine, at);
      if (Masked || begin + tile > keys) hide(s, mine, sample, begin);
      softmax(s, mine);
      repeat<tile / 16>([&]<int J>() {
        Pair p[Strips][4];
        round_sums<J>(p, s);
        multiply_by_rows<pitch, (tile + 16 * J) * pitch>(mine.o, p, at);
      });
      arch::barrier();
    }
    write(mine, head, sample, column, first);
  }

 private:
  /// What a warp keeps of its queries.  A lane has rows first_of_sum and 8 below of each strip.
  struct Queries {
    Pair q[Width / 16 + 1][Strips][4];  ///< the last: of 8 columns, if there are 8 left
    float o[Strips][Width / 8][4] = {};
    float top[Strips][2], sum[Strips][2];  ///< sum: of the columns that this lane has
    std::int32_t group[Strips][2];
  };

  SRA_DEVICE void copy_tiles(bf16* to, HeadRows<const bf16> key_rows, HeadRows<const bf16> value_rows,
                             int first) const {
    copy_tile<Width, tile>(to, key_rows, first, keys);
    copy_tile<Width, tile>(to + tile * pitch, value_rows, first, keys);
    if (first == 0) arch::commit_copies();
  }

  SRA_DEVICE void load(Queries& mine, index_t sample, int column, int first) const {
    const Place p = first_of_sum(own_lane());
    for (int i = 0; i < Strips; ++i)
      for (int half = 0; half < 2; ++half) {
        const int row = first + 16 * i + 8 * half + p.row;
        const bool inside = row < queries;
        const bf16* const from = q.head(sample, column).row(inside ? row : 0) + p.column;
        for (int d = 0; d < Width; d += 8) {
          const Pair x = inside ? load_pair(from + d) : Pair{0};
          mine.q[d / 16][i][d % 16 / 4 + half] = x;
        }
        mine.top[i][half] = hidden, mine.sum[i][half] = 0;
        if constexpr (Masked) mine.group[i][half] = query_group[sample * queries + (inside ? row : 0)];
      }
  }

  SRA_DEVICE void multiply_queries(float (&s)[Strips][tile / 8][4], const Queries& mine, const bf16* key_tile) const {
    repeat<Width / 16>([&]<int I>() { multiply_by_columns<pitch, 16 * I>(s, mine.q[I], key_tile); });
    if constexpr (Width % 16 != 0) {
      Pair last[Strips][2];
      for (int i = 0; i < Strips; ++i) last[i][0] = mine.q[Width / 16][i][0], last[i][1] = mine.q[Width / 16][i][1];
      multiply_by_columns<pitch, Width - 8>(s, last, key_tile);
    }
  }

  /// Keys after the last and of other groups.
  SRA_DEVICE void hide(float (&s)[Strips][tile / 8][4], const Queries& mine, index_t sample, int begin) const {
    const int first = begin + first_of_sum(own_lane()).column;
    for (int n = 0; n < tile / 8; ++n)
      for (int j = 0; j < 2; ++j) {
        const int key = first + 8 * n + j;
        const bool inside = key < keys;
        std::int32_t its = 0;
        if constexpr (Masked) its = key_group[sample * keys + (inside ? key : 0)];
        for (int i = 0; i < Strips; ++i)
          for (int half = 0; half < 2; ++half)
            if (!inside || (Masked && its != mine.group[i][half])) s[i][n][2 * half + j] = hidden;
      }
  }

  /// Scores become 2^(base (score - largest so far)); what was summed before shrinks as the largest grows.
  SRA_DEVICE void softmax(float (&s)[Strips][tile / 8][4], Queries& mine) const {
    for (int i = 0; i < Strips; ++i)
      for (int half = 0; half < 2; ++half) {
        float top = mine.top[i][half];
        for (int n = 0; n < tile / 8; ++n) top = std::fmax(top, std::fmax(s[i][n][2 * half], s[i][n][2 * half + 1]));
        top = std::fmax(top, arch::exchange(top, 1));
        top = std::fmax(top, arch::exchange(top, 2));
        const float shift = top > hidden ? top * base : 0.0f;  // no visible key yet: 2^-inf = 0 everywhere
        const float shrink = arch::fast_exp2(mine.top[i][half] * base - shift);
        float sum = mine.sum[i][half] * shrink;
        for (int n = 0; n < tile / 8; ++n)
          for (int j = 2 * half; j < 2 * half + 2; ++j) {
            s[i][n][j] = arch::fast_exp2(s[i][n][j] * base - shift);
            sum += s[i][n][j];
          }
        mine.top[i][half] = top, mine.sum[i][half] = sum;
        for (int n = 0; n < Width / 8; ++n)
          for (int j = 2 * half; j < 2 * half + 2; ++j) mine.o[i][n][j] *= shrink;
      }
  }

  SRA_DEVICE void write(const Queries& mine, index_t head, index_t sample, int column, int first) const {
    const Place p = first_of_sum(own_lane());
    for (int i = 0; i < Strips; ++i)
      for (int half = 0; half < 2; ++half) {
        const int row = first + 16 * i + 8 * half + p.row;
        const float sum = warp_sum<4>(mine.sum[i][half]), one_over = sum == 0 ? 0.0f : 1.0f / sum;
        if (row >= queries) continue;
        bf16* const to = o.head(sample, column).row(row) + p.column;
        for (int n = 0; n < Width / 8; ++n)
          store_pair(to + 8 * n,
                     arch::pair_of(mine.o[i][n][2 * half] * one_over, mine.o[i][n][2 * half + 1] * one_over));
        if (p.column == 0) lse[head * queries + row] = sum == 0 ? -hidden : mine.top[i][half] * base + std::log2(sum);
      }
  }
};

}  // namespace sra::cuda::detail
