// Attention backward on tensor cores: one block of threads has one head, all gradients in one pass, without atomics.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention_tiles.cuh>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace sra::backend::detail {

/// With p = 2^(base q k^T - lse), dp = dy v^T and ds = p (dp - rowsum(dy o)): dv = p^T dy, dk = scale ds^T q, dq = scale ds k.
/// A warp has 16 Strips keys and keeps their dk and dv in registers while the queries pass through shared memory in tiles of
/// 64; ds of a tile goes through shared memory, and its product with k is dq.  If there are more keys than the block has
/// room for, it takes them in turns and adds dq of every turn to `sums`: as the same thread always has the same element, in
/// the same order, this needs no slice for every turn and no second kernel, and gives the same bits every time.
/// Reads q, k, v, o, dy and writes dq, dk, dv once: 16 bytes an element; every further turn reads q, o, dy again.
template <int Width, int Strips, int Warps, bool Masked>
struct AttentionBackward {
  static_assert(Width % 8 == 0);
  static constexpr int threads = arch::warp_size * Warps;
  static constexpr int rows = 16 * Strips * Warps;  ///< keys of a turn
  static constexpr int tile = 64, pitch = tile_pitch(Width), ds_pitch = tile_pitch(tile);
  static constexpr int step = Strips * Width <= 144 ? 32 : 16;  ///< queries of which a warp has scores at a time
  static constexpr float infinity = std::numeric_limits<float>::infinity();

  HeadRows<const bf16> q, k, v, o, dy;
  const float* lse;                             ///< [samples, heads, queries]
  const std::int32_t *query_group, *key_group;  ///< [samples, queries], [samples, keys] if Masked
  HeadGrad<bf16> dq, dk, dv;
  float*
      sums;  ///< of dq, [samples, heads, queries, Width]; null if there is one turn and dq overlaps neither dk nor dv
  int heads, queries, keys, stages;  ///< stages: tiles of queries that there is room for, 1 or 2
  float scale, base;                 ///< base = scale log2(e)

  static constexpr std::size_t shared_bytes(int stages) {
    return sizeof(bf16) * static_cast<std::size_t>((2 * rows + 3 * tile * stages) * pitch + rows * ds_pitch) +
           2 * sizeof(float) * tile;
  }

  SRA_DEVICE void operator()() const {
    const index_t head = arch::block(), sample = head / heads, column = head % heads * Width;
    const Head mine{q.head(sample, column),
                    k.head(sample, column),
                    v.head(sample, column),
                    o.head(sample, column),
                    dy.head(sample, column),
                    lse + head * queries,
                    Masked ? query_group + sample * queries : nullptr,
                    Masked ? key_group + sample * keys : nullptr};
    const HeadGrad<bf16> to_q = dq.head(sample, column);
    float* const partial = sums ? sums + head * queries * Width : nullptr;
    for (int first = 0; first < keys; first += rows) {
      float sum_k[Strips][Width / 8][4] = {}, sum_v[Strips][Width / 8][4] = {};
      turn(sum_k, sum_v, mine, first, to_q, partial);
      put_rows(dv.head(sample, column), sum_v, 1.0f, first);
      put_rows(dk.head(sample, column), sum_k, scale, first);
    }
    if (!sums || dq.mode == GradMode::ignore) return;
    arch::barrier();
    for (int i = arch::thread(); i < queries * (Width / 8); i += threads) {
      float x[8];
      load(x, partial + static_cast<index_t>(i) * 8);
      for (float& number : x) number *= scale;
      put(to_q.rows.row(i / (Width / 8)) + i % (Width / 8) * 8, x, dq.mode == GradMode::accumulate);
    }
  }

 private:
  struct Head {
    HeadRows<const bf16> q, k, v, o, dy;
    const float* lse;
    const std::int32_t *query_group, *key_group;
  };
  /// What lies in shared memory.
  struct Room {
    bf16 *k, *v, *ds;    ///< [rows][pitch] twice; the transpose of ds, [rows][ds_pitch]
    bf16* stages;        ///< q, dy, o, [tile][pitch] each, `stages` times
    float *lse, *delta;  ///< of a tile

    SRA_DEVICE bf16* stage(int i) const { return stages + i * 3 * tile * pitch; }
  };
  SRA_DEVICE Room room() const {
    bf16* const k = reinterpret_cast<bf16*>(arch::shared_memory());
    bf16 *const v = k + rows * pitch, *const ds = v + rows * pitch, *const first = ds + rows * ds_pitch;
    float* const numbers = reinterpret_cast<float*>(first + 3 * tile * stages * pitch);
    return {k, v, ds, first, numbers, numbers + tile};
  }

  /// All queries against the keys from `first` on.
  SRA_DEVICE void turn(float (&sum_k)[Strips][Width / 8][4], float (&sum_v)[Strips][Width / 8][4], const Head& mine,
                       int first, const HeadGrad<bf16>& to_q, float* partial) const {
    const Room at = room();
    copy_tile<Width, rows, threads>(at.k, mine.k, first, keys);
    copy_tile<Width, rows, threads>(at.v, mine.v, first, keys);
    copy_queries(at.stage(0), mine, 0);
    for (int begin = 0, stage = 0; begin < queries; begin += tile) {
      const int next = stages == 2 ? stage ^ 1 : stage;
      if (stages == 2) {
        copy_queries(at.stage(next), mine, begin + tile);
        arch::wait_for_copies<1>();
      } else {
        arch::wait_for_copies<0>();
      }
      arch::barrier();
      statistics(at, at.stage(stage), mine, begin);
      arch::barrier();
      for (int i = 0; i < tile; i += step) scores(sum_k, sum_v, at, at.stage(stage), mine, first, begin, i);
      arch::barrier();
      if (to_q.mode != GradMode::ignore) queries_gradient(at, to_q, partial, first, begin);
      arch::barrier();
      if (stages == 1) copy_queries(at.stage(next), mine, begin + tile);
      stage = next;
    }
  }

  /// A group of copies, empty after the last tile.
  SRA_DEVICE void copy_queries(bf16* to, const Head& mine, int begin) const {
    if (begin < queries) {
      copy_tile<Width, tile, threads>(to, mine.q, begin, queries);
      copy_tile<Width, tile, threads>(to + tile * pitch, mine.dy, begin, queries);
      copy_tile<Width, tile, threads>(to + 2 * tile * pitch, mine.o, begin, queries);
    }
    arch::commit_copies();
  }

  /// lse and rowsum(dy o) of a tile, four lanes a row.  Rows after the last have p = 2^-inf.
  SRA_DEVICE void statistics(const Room& at, const bf16* stage, const Head& mine, int begin) const {
    const int part = arch::thread() % 4;
    for (int r = arch::thread() / 4; r < tile; r += threads / 4) {
      const bf16 *const dy_row = stage + (tile + r) * pitch, *const o_row = dy_row + tile * pitch;
      float sum = 0;
      for (int d = 8 * part; d < Width; d += 32) {
        float x[8], y[8];
        load(x, dy_row + d);
        load(y, o_row + d);
        for (int i = 0; i < 8; ++i) sum += x[i] * y[i];
      }
      sum = warp_sum<4>(sum);
      if (part != 0) continue;
      at.delta[r] = sum;
      at.lse[r] = begin + r < queries ? mine.lse[begin + r] : infinity;
    }
  }

  /// Scores of this warp's keys (rows) and `step` queries (columns) of the tile, from number `from` on.
  SRA_DEVICE void scores(float (&sum_k)[Strips][Width / 8][4], float (&sum_v)[Strips][Width / 8][4], const Room& at,
                         const bf16* stage, const Head& mine, int first, int begin, int from) const {
    const int own = own_warp() * 16 * Strips;
    const bf16 *const q_rows = stage + from * pitch, *const dy_rows = q_rows + tile * pitch;
    float p[Strips][step / 8][4] = {}, ds[Strips][step / 8][4] = {};
    multiply_tiles<Width>(p, at.k + own * pitch, q_rows);
    multiply_tiles<Width>(ds, at.v + own * pitch, dy_rows);
    const Place place = first_of_sum(own_lane());
    for (int n = 0; n < step / 8; ++n) {
      float shift[2], delta[2];
      load(shift, at.lse + from + 8 * n + place.column);
      load(delta, at.delta + from + 8 * n + place.column);
      for (int i = 0; i < Strips; ++i)
        for (int j = 0; j < 4; ++j) {
          float x =
              arch::fast_exp2(std::fmin(1.0f, p[i][n][j] * base - shift[j % 2]));  // 0 but for rounding; keys after
          if constexpr (Masked)                                                    // the last must not overflow
            if (!sees(mine, begin + from + 8 * n + place.column + j % 2, first + own + 16 * i + place.row + j / 2 * 8))
              x = 0;
          p[i][n][j] = x;
          ds[i][n][j] = x * (ds[i][n][j] - delta[j % 2]);
        }
    }
    Pair left[step / 16][Strips][4];
    round_sums(left, p);
    for (int j = 0; j < step / 16; ++j) multiply_by_rows<pitch>(sum_v, left[j], dy_rows + 16 * j * pitch);
    round_sums(left, ds);
    for (int j = 0; j < step / 16; ++j) multiply_by_rows<pitch>(sum_k, left[j], q_rows + 16 * j * pitch);
    bf16* const to = at.ds + (own + place.row) * ds_pitch + from + place.column;
    for (int j = 0; j < step / 16; ++j)
      for (int i = 0; i < Strips; ++i)
        for (int r = 0; r < 4; ++r)
          store_pair(to + (16 * i + r % 2 * 8) * ds_pitch + 16 * j + r / 2 * 8, left[j][i][r]);
  }

  SRA_DEVICE bool sees(const Head& mine, int query, int key) const {
    return query < queries && key < keys && mine.query_group[query] == mine.key_group[key];
  }

  /// dq of a tile from the keys of this turn.  Warps share rows and, if there are 8, columns; where those do not divide, two
  /// warps compute the same and one writes.
  SRA_DEVICE void queries_gradient(const Room& at, const HeadGrad<bf16>& to, float* partial, int first,
                                   int begin) const {
    constexpr int row_warps = Warps < 4 ? Warps : 4, column_warps = Warps / row_warps;
    constexpr int all = Width / 8, each = (all + column_warps - 1) / column_warps;
    const int part = own_warp() / row_warps, column = part * (all - each);
    const Place from = columns_first(own_lane()), place = first_of_sum(own_lane());
    const int end = keys - first < rows ? keys - first : rows;
    for (int m = 16 * (own_warp() % row_warps); m < tile && begin + m < queries; m += 16 * row_warps) {
      float sum[1][each][4] = {};
      for (int i = 0; i < end; i += 16) {
        Pair left[1][4];
        arch::load_matrices<4, true>(left[0], at.ds + (i + from.row) * ds_pitch + m + from.column);
        multiply_by_rows<pitch>(sum, left, at.k + i * pitch + 8 * column);
      }
      for (int half = 0; half < 2; ++half) {
        const int query = begin + m + place.row + 8 * half;
        if (query >= queries) continue;
        for (int n = 0; n < each; ++n) {
          if (column + n < part * each) continue;
          const float x[2] = {sum[0][n][2 * half], sum[0][n][2 * half + 1]};
          const int d = 8 * (column + n) + place.column;
          if (partial)
            put(partial + static_cast<index_t>(query) * Width + d, x, first > 0);
          else
            put_pair(to.rows.row(query) + d, x[0] * scale, x[1] * scale, to.mode == GradMode::accumulate);
        }
      }
    }
  }

  /// The gradient of this warp's keys.
  SRA_DEVICE void put_rows(const HeadGrad<bf16>& to, const float (&sum)[Strips][Width / 8][4], float factor,
                           int first) const {
    if (to.mode == GradMode::ignore) return;
    const Place place = first_of_sum(own_lane());
    for (int i = 0; i < Strips; ++i)
      for (int half = 0; half < 2; ++half) {
        const int key = first + (own_warp() * Strips + i) * 16 + place.row + 8 * half;
        if (key >= keys) continue;
        bf16* const row = to.rows.row(key) + place.column;
        for (int n = 0; n < Width / 8; ++n)
          put_pair(row + 8 * n, sum[i][n][2 * half] * factor, sum[i][n][2 * half + 1] * factor,
                   to.mode == GradMode::accumulate);
      }
  }
};

}  // namespace sra::backend::detail
