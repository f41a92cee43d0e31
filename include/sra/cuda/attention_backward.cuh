// Attention backward on tensor cores: one block of threads has one head, all gradients in one pass, without atomics.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention_gradients.cuh>

#include <cstddef>

namespace sra::gpu::detail {

/// With p = 2^(base q k^T - lse), dp = dy v^T and ds = p (dp - rowsum(dy o)): dv = p^T dy, dk = scale ds^T q, dq =
/// scale ds k. A warp has 16 Strips keys and keeps their dk and dv in registers while the queries pass through shared
/// memory in tiles of 64; ds of a tile goes through shared memory, and its product with k is dq.  If there are more
/// keys than the block has room for, it takes them in turns and adds dq of every turn to `sums`: as the same thread
/// always has the same element, in the same order, this needs no slice for every turn and no second kernel, and gives
/// the same bits every time.
/// Reads q, k, v, o, dy and writes dq, dk, dv once: 16 bytes an element; every further turn reads q, o, dy again.
template <int Width, int Strips, int Warps, bool Masked>
struct AttentionBackward : AttentionGradients<Width, Masked> {
  using Base = AttentionGradients<Width, Masked>;
  using Base::q, Base::k, Base::v, Base::o, Base::dy, Base::lse, Base::dq, Base::queries, Base::keys, Base::stages;
  static constexpr int threads = arch::warp_size * Warps;
  static constexpr int rows = 16 * Strips * Warps;  ///< keys of a turn
  static constexpr int tile = 64, pitch = tile_pitch(Width), ds_pitch = tile_pitch(tile);
  static constexpr int step = Masked && Strips == 2 ? 16 : 32;  ///< queries of which a warp has scores at a time

  static constexpr std::size_t shared_bytes(int stages) {
    return sizeof(bf16) * static_cast<std::size_t>((2 * rows + 3 * tile * stages) * pitch + rows * ds_pitch) +
           2 * sizeof(float) * tile;
  }

  SRA_DEVICE void operator()() const {
    for (int first = 0; first < keys; first += rows) {
      float sum_k[Strips][Width / 8][4] = {}, sum_v[Strips][Width / 8][4] = {};
      turn(sum_k, sum_v, first);
      const int own = first + own_warp() * 16 * Strips;
      this->put_rows(this->of_head(this->dv), sum_v, 1.0f, own, 16);
      this->put_rows(this->of_head(this->dk), sum_k, this->scale, own, 16);
    }
    this->finish();
  }

 private:
  /// What lies in shared memory.
  struct Room {
    bf16 *k, *v, *ds;    ///< [rows][pitch] twice; the transpose of ds, [rows][ds_pitch]
    float *lse, *delta;  ///< of a tile
    bf16* stages;        ///< q, dy, o, [tile][pitch] each, `stages` times
  };
  SRA_DEVICE static Room room() {
    bf16* const k = reinterpret_cast<bf16*>(arch::shared_memory());
    bf16 *const v = k + rows * pitch, *const ds = v + rows * pitch;
    float* const lse = reinterpret_cast<float*>(ds + rows * ds_pitch);
    return {k, v, ds, lse, lse + tile, reinterpret_cast<bf16*>(lse + 2 * tile)};
  }

  /// Where the tile of queries from `begin` on lies.
  SRA_DEVICE bf16* stage(const Room& at, int begin) const {
    return at.stages + (begin / tile & (stages - 1)) * 3 * tile * pitch;
  }

  /// All queries against the keys from `first` on.
  SRA_DEVICE void turn(float (&sum_k)[Strips][Width / 8][4], float (&sum_v)[Strips][Width / 8][4], int first) const {
    const Room at = room();
    copy_tile<Width, rows>(at.k, this->of_head(k), first, keys);
    copy_tile<Width, rows>(at.v, this->of_head(v), first, keys);
    copy_queries(at, 0);
    for (int begin = 0; begin < queries; begin += tile) {
      if (stages == 2) {
        copy_queries(at, begin + tile);
        arch::wait_for_copies<1>();
      } else {
        arch::wait_for_copies<0>();
      }
      arch::barrier();
      statistics(at, begin);
      arch::barrier();
      for (int i = 0; i < tile; i += step) scores(sum_k, sum_v, at, first, begin, i);
      arch::barrier();
      if (dq.mode != GradMode::ignore) queries_gradient(at, first, begin);
      arch::barrier();
      if (stages == 1) copy_queries(at, begin + tile);
    }
  }

  /// A group of copies, empty after the last tile.
  SRA_DEVICE void copy_queries(const Room& at, int begin) const {
    if (begin < queries) {
      bf16* const to = stage(at, begin);
      copy_tile<Width, tile>(to, this->of_head(q), begin, queries);
      copy_tile<Width, tile>(to + tile * pitch, this->of_head(dy), begin, queries);
      copy_tile<Width, tile>(to + 2 * tile * pitch, this->of_head(o), begin, queries);
    }
    arch::commit_copies();
  }

  /// lse and rowsum(dy o) of a tile, four lanes a row.  Rows after the last have p = 2^-inf.
  SRA_DEVICE void statistics(const Room& at, int begin) const {
    const bf16* const dy_rows = stage(at, begin) + tile * pitch;
    const int part = own_thread() % 4;
    for (int r = own_thread() / 4; r < tile; r += threads / 4) {
      const bf16 *const dy_row = dy_rows + r * pitch, *const o_row = dy_row + tile * pitch;
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
      at.lse[r] =
          begin + r < queries ? lse[static_cast<index_t>(this->head().number) * queries + begin + r] : Base::infinity;
    }
  }

  /// Scores of this warp's keys (rows) and `step` queries (columns) of the tile, from number `from` on.
  SRA_DEVICE void scores(float (&sum_k)[Strips][Width / 8][4], float (&sum_v)[Strips][Width / 8][4], const Room& at,
                         int first, int begin, int from) const {
    const int own = own_warp() * 16 * Strips;
    const Place place = first_of_sum(own_lane());
    const bf16 *const keys_of_warp = at.k + own * pitch, *const q_rows = stage(at, begin) + from * pitch;
    float p[Strips][step / 8][4] = {};
    multiply_tiles<Width, 0, 0>(p, keys_of_warp, q_rows);
    const index_t sample = Masked ? this->head().sample : 0;
    repeat<step / 8>([&]<int N>() {
      float shift[2];
      load(shift, at.lse + from + 8 * N + place.column);
      for (int i = 0; i < Strips; ++i)
        for (int j = 0; j < 4; ++j) {
          p[i][N][j] = this->weight(p[i][N][j], shift[j % 2]);
          if constexpr (Masked)
            if (!this->sees(sample, begin + from + 8 * N + place.column + j % 2,
                            first + own + 16 * i + place.row + j / 2 * 8))
              p[i][N][j] = 0;
        }
    });
    Pair left[step / 16][Strips][4];
    repeat<step / 16>([&]<int J>() {
      round_sums<J>(left[J], p);
      multiply_by_rows<pitch, (tile + 16 * J) * pitch>(sum_v, left[J], q_rows);
    });
    float ds[Strips][step / 8][4] = {};
    multiply_tiles<Width, rows * pitch, tile * pitch>(ds, keys_of_warp, q_rows);
    repeat<step / 8>([&]<int N>() {
      float delta[2];
      load(delta, at.delta + from + 8 * N + place.column);
      for (int i = 0; i < Strips; ++i)
        for (int j = 0; j < 4; ++j) ds[i][N][j] = p[i][N][j] * (ds[i][N][j] - delta[j % 2]);
    });
    repeat<step / 16>([&]<int J>() {
      round_sums<J>(left[J], ds);
      multiply_by_rows<pitch, 16 * J * pitch>(sum_k, left[J], q_rows);
    });
    bf16* const to = at.ds + (own + place.row) * ds_pitch + from + place.column;
    for (int j = 0; j < step / 16; ++j)
      for (int i = 0; i < Strips; ++i)
        for (int r = 0; r < 4; ++r)
          store_pair(to + (16 * i + r % 2 * 8) * ds_pitch + 16 * j + r / 2 * 8, left[j][i][r]);
  }

  /// dq of a tile from the keys of this turn.  Warps share rows and, if there are 8, columns; where those do not
  /// divide, two warps compute the same and one writes.
  SRA_DEVICE void queries_gradient(const Room& at, int first, int begin) const {
    constexpr int row_warps = Warps < 4 ? Warps : 4, column_warps = Warps / row_warps;
    constexpr int all = Width / 8, each = (all + column_warps - 1) / column_warps;
    const int part = own_warp() / row_warps, column = part * (all - each);
    const Place from = columns_first(own_lane()), place = first_of_sum(own_lane());
    const int end = keys - first < rows ? keys - first : rows;
    const HeadRows<bf16> to = this->of_head(dq.rows);
    for (int m = 16 * (own_warp() % row_warps); m < tile && begin + m < queries; m += 16 * row_warps) {
      float sum[1][each][4] = {};
      for (int i = 0; i < end; i += 16) {
        Pair left[1][4];
        arch::load_matrices<4, true>(left[0], at.ds + (i + from.row) * ds_pitch + m + from.column);
        multiply_by_rows<pitch>(sum, left, at.k + i * pitch + 8 * column);
      }
      for (int upper = 0; upper < 2; ++upper) {
        const int query = begin + m + place.row + 8 * upper;
        if (query >= queries) continue;
        for (int n = 0; n < each; ++n) {
          if (column + n < part * each) continue;
          const float x[2] = {sum[0][n][2 * upper], sum[0][n][2 * upper + 1]};
          const int d = 8 * (column + n) + place.column;
          this->put_query(to, query, d, x, first);
        }
      }
    }
  }
};

}  // namespace sra::gpu::detail
