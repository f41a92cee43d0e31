// Attention backward by products of warpgroups (wgmma, sm_90a): one block of threads has one head, without atomics.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/warpgroup.cuh>
#include <sra/cuda/attention_gradients.cuh>
#include <sra/cuda/core_matrices.cuh>

#include <cstddef>
#include <cstdint>

namespace sra::gpu::detail {

/// The same as AttentionBackward.  A warpgroup has 64 keys in each of its strips and keeps their dk and dv in registers; all
/// tiles consist of core matrices, and only p and ds come from registers.  ds of a tile is written to shared memory as
/// [keys, queries], from where dq = ds k reads it along its rows; warpgroups share dq's columns.
/// Reads q, k, v, o, dy and writes dq, dk, dv once: 16 bytes an element; every further turn reads q, o, dy again.
template <int Width, int Groups, bool Masked>
struct WarpgroupAttentionBackward : AttentionGradients<Width, Masked> {
  static_assert(Width % 8 == 0 && Width >= 16);
  using Base = AttentionGradients<Width, Masked>;
  using Base::q, Base::k, Base::v, Base::o, Base::dy, Base::lse, Base::dq, Base::queries, Base::keys, Base::stages;
  static constexpr int threads = arch::warpgroup_size * Groups, strips = Width <= 72 ? 2 : 1;
  static constexpr int rows = 64 * strips * Groups;  ///< keys of a turn
  static constexpr int tile = 64, step = 32;         ///< queries of a tile, and of which a warp has scores at a time
  static constexpr int padded =
      (Width + 15) / 16 * 16;  ///< columns of what is summed over columns: zeros from Width on

  static constexpr std::size_t shared_bytes(int stages) {
    return sizeof(bf16) * static_cast<std::size_t>(rows * (2 * padded + tile) + stages * stage_size) +
           2 * sizeof(float) * tile;
  }

  SRA_DEVICE void operator()() const {
    if constexpr (arch::has_warpgroup_products()) run();
  }

 private:
  static constexpr int stage_size = tile * (2 * padded + Width);
  using Sums = float[strips][Width / 8][4];

  SRA_DEVICE void run() const {
    const Room at = room();
    pad_cores<Width, rows, padded>(at.k);
    pad_cores<Width, rows, padded>(at.v);
    for (int i = 0; i < stages; ++i) {
      pad_cores<Width, tile, padded>(stage(at, i * tile));
      pad_cores<Width, tile, padded>(stage(at, i * tile) + tile * padded);
    }
    for (int first = 0; first < keys; first += rows) {
      Sums sum_k = {}, sum_v = {};
      turn(sum_k, sum_v, first);
      const int own = first + first_of_group() + own_warp() % 4 * 16;
      this->put_rows(this->of_head(this->dv), sum_v, 1.0f, own, 64);
      this->put_rows(this->of_head(this->dk), sum_k, this->scale, own, 64);
    }
    this->finish();
  }

  /// Which warpgroup this is, as a number that all lanes of a warp have; its first key of a turn.
  SRA_DEVICE static int group() { return arch::from_lane(own_thread() / arch::warpgroup_size, 0); }
  SRA_DEVICE static int first_of_group() { return group() * strips * 64; }

  /// What lies in shared memory.
  struct Room {
    bf16 *k, *v, *ds;    ///< [rows, padded] twice; the transpose of ds, [rows, tile]
    float *lse, *delta;  ///< of a tile
    bf16* stages;        ///< q and dy, [tile, padded] each, and o, [tile, Width], `stages` times
  };
  SRA_DEVICE static Room room() {
    bf16* const k = reinterpret_cast<bf16*>(arch::shared_memory());
    bf16 *const v = k + rows * padded, *const ds = v + rows * padded, *const all = ds + rows * tile;
    float* const lse = reinterpret_cast<float*>(all);
    return {k, v, ds, lse, lse + tile, all + 4 * tile};
  }
  /// Where the tile of queries from `begin` on lies.
  SRA_DEVICE bf16* stage(const Room& at, int begin) const {
    return at.stages + (begin / tile & (stages - 1)) * stage_size;
  }

  /// All queries against the keys from `first` on.
  SRA_DEVICE void turn(Sums& sum_k, Sums& sum_v, int first) const {
    const Room at = room();
    copy_cores<Width, rows, padded>(at.k, this->of_head(k), first, keys);
    copy_cores<Width, rows, padded>(at.v, this->of_head(v), first, keys);
    copy_queries(at, 0);
    for (int begin = 0; begin < queries; begin += tile) {
      if (stages == 2) {
        copy_queries(at, begin + tile);
        arch::wait_for_copies<1>();
      } else {
        arch::wait_for_copies<0>();
      }
      arch::publish_to_products();
      arch::barrier();
      statistics(at, begin);
      arch::barrier();
      repeat<strips>([&]<int I>() {
        for (int i = 0; i < tile; i += step) scores(sum_k[I], sum_v[I], at, first, first_of_group() + 64 * I, begin, i);
      });
      arch::publish_to_products();
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
      copy_cores<Width, tile, padded>(to, this->of_head(q), begin, queries);
      copy_cores<Width, tile, padded>(to + tile * padded, this->of_head(dy), begin, queries);
      copy_cores<Width, tile>(to + 2 * tile * padded, this->of_head(o), begin, queries);
    }
    arch::commit_copies();
  }

  /// lse and rowsum(dy o) of a tile, four lanes a row: the lanes of a phase read one core matrix.  Rows after the last have
  /// p = 2^-inf.
  SRA_DEVICE void statistics(const Room& at, int begin) const {
    const bf16 *const dy_rows = stage(at, begin) + tile * padded, *const o_rows = dy_rows + tile * padded;
    const int part = own_lane() / 8;
    for (int r = own_warp() * 8 + own_lane() % 8; r < tile; r += threads / 4) {
      float sum = 0;
      for (int d = 8 * part; d < Width; d += 32) {
        float x[8], y[8];
        load(x, dy_rows + in_cores(padded, r, d));
        load(y, o_rows + in_cores(Width, r, d));
        for (int i = 0; i < 8; ++i) sum += x[i] * y[i];
      }
      sum += arch::exchange(sum, 8);
      sum += arch::exchange(sum, 16);
      if (part != 0) continue;
      at.delta[r] = sum;
      at.lse[r] =
          begin + r < queries ? lse[static_cast<index_t>(this->head().number) * queries + begin + r] : Base::infinity;
    }
  }

  /// s = a b^T for 64 rows of a tile and `step` of another, both from where they are said to begin.
  SRA_DEVICE static void multiply_tiles_later(float (&s)[step / 8][4], const bf16* a, const bf16* b) {
    const std::uint64_t left = by_columns(arch::shared_address(a), padded),
                        right = by_columns(arch::shared_address(b), padded);
    repeat<padded / 16>([&]<int J>() {
      arch::multiply_shared_later<step, (J > 0), false, false>(s, moved(left, 2 * J * core_bytes),
                                                               moved(right, 2 * J * core_bytes));
    });
    arch::commit_products();
  }
  /// sum += a b for `step` rows of a tile that begin at b.
  SRA_DEVICE static void add_rows_later(float (&sum)[Width / 8][4], Pair (&a)[step / 16][1][4], const bf16* b) {
    arch::lend_to_products(sum, a);
    const std::uint64_t right = by_rows(arch::shared_address(b), padded);
    repeat<step / 16>(
        [&]<int J>() { multiply_group_by_rows<Width>(sum, a[J][0], moved(right, 2 * J * core_row_bytes(padded))); });
    arch::commit_products();
  }

  /// Scores of 64 keys (rows) from number `own` of this turn on, and `step` queries (columns) of the tile from number `from`
  /// on.
  SRA_DEVICE void scores(float (&sum_k)[Width / 8][4], float (&sum_v)[Width / 8][4], const Room& at, int first, int own,
                         int begin, int from) const {
    const bf16 *const q_rows = stage(at, begin) + from * padded, *const dy_rows = q_rows + tile * padded;
    const Place place = first_of_sum(own_lane());
    const int row = own + own_warp() % 4 * 16 + place.row;
    float p[1][step / 8][4] = {}, ds[1][step / 8][4] = {};
    arch::lend_to_products(p, ds);
    multiply_tiles_later(p[0], at.k + own * padded, q_rows);
    multiply_tiles_later(ds[0], at.v + own * padded, dy_rows);
    arch::wait_for_products<1>(p);
    const index_t sample = Masked ? this->head().sample : 0;
    repeat<step / 8>([&]<int N>() {
      float shift[2];
      load(shift, at.lse + from + 8 * N + place.column);
      for (int j = 0; j < 4; ++j) {
        p[0][N][j] = this->weight(p[0][N][j], shift[j % 2]);
        if constexpr (Masked)
          if (!this->sees(sample, begin + from + 8 * N + place.column + j % 2, first + row + j / 2 * 8)) p[0][N][j] = 0;
      }
    });
    Pair left[step / 16][1][4], right[step / 16][1][4];
    repeat<step / 16>([&]<int J>() { round_sums<J>(left[J], p); });
    add_rows_later(sum_v, left, dy_rows);
    arch::wait_for_products<1>(ds);
    repeat<step / 8>([&]<int N>() {
      float delta[2];
      load(delta, at.delta + from + 8 * N + place.column);
      for (int j = 0; j < 4; ++j) ds[0][N][j] = p[0][N][j] * (ds[0][N][j] - delta[j % 2]);
    });
    repeat<step / 16>([&]<int J>() { round_sums<J>(right[J], ds); });
    add_rows_later(sum_k, right, q_rows);
    for (int j = 0; j < step / 16; ++j)
      for (int r = 0; r < 4; ++r)
        store_pair(at.ds + in_cores(tile, row + r % 2 * 8, from + 16 * j + r / 2 * 8 + place.column), right[j][0][r]);
    arch::wait_for_products<0>(sum_v, left, sum_k, right);
  }

  /// dq of a tile from the keys of this turn: columns are shared by warpgroups, and where those do not divide, two compute
  /// the same and one writes.
  SRA_DEVICE void queries_gradient(const Room& at, int first, int begin) const {
    constexpr int all = Width / 8, each = (all + Groups - 1) / Groups;
    const int part = group(), column = part * (all - each);
    const std::uint64_t ds = by_rows(arch::shared_address(at.ds), tile),
                        right = moved(by_rows(arch::shared_address(at.k), padded), column * core_bytes);
    const int end = keys - first < rows ? keys - first : rows;
    float sum[each][4] = {};
    arch::lend_to_products(sum);
    for (int i = 0; i < end; i += 16)
      multiply_shared_by_rows<8 * each>(sum, moved(ds, i / 8 * core_row_bytes(tile)),
                                        moved(right, i / 8 * core_row_bytes(padded)));
    arch::commit_products();
    arch::wait_for_products<0>(sum);
    const Place place = first_of_sum(own_lane());
    const HeadRows<bf16> to = this->of_head(dq.rows);
    for (int upper = 0; upper < 2; ++upper) {
      const int query = begin + own_warp() % 4 * 16 + place.row + 8 * upper;
      if (query >= queries) continue;
      for (int n = 0; n < each; ++n) {
        if (column + n < part * each) continue;
        const float x[2] = {sum[n][2 * upper], sum[n][2 * upper + 1]};
        this->put_query(to, query, 8 * (column + n) + place.column, x, first);
      }
    }
  }
};

}  // namespace sra::gpu::detail
