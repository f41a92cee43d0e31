// Attention forward by products of warpgroups (wgmma, sm_90a): bf16, head sizes that are multiples of 8 from 16 on.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/warpgroup.cuh>
#include <sra/cuda/attention_queries.cuh>
#include <sra/cuda/core_matrices.cuh>

#include <cstddef>
#include <cstdint>

namespace sra::gpu::detail {

/// The same as AttentionForward, in the same order.  A warpgroup has 64 queries, whose q, p and sums stay in registers;
/// keys and values pass through shared memory in tiles of 64, of which two are copied while one is used.  While one
/// warpgroup computes the softmax, others multiply: there are registers for four on a multiprocessor, with a mask or for
/// more than 72 columns for fewer.
/// Reads q, writes o once; reads k and v once per block of queries, from the second-level cache but for the first time.
template <int Width, int Groups, bool Masked>
struct WarpgroupAttentionForward : AttentionQueries<Width, 1, Masked> {
  static_assert(Width % 8 == 0 && Width >= 16);
  using Base = AttentionQueries<Width, 1, Masked>;
  using typename Base::Queries;
  using typename Base::Scores;
  static constexpr int threads = arch::warpgroup_size * Groups;
  static constexpr int rows = 64 * Groups;  ///< queries of a block
  static constexpr int tile = Base::tile, stages = 3, tile_size = tile * Width;
  static constexpr std::size_t shared_bytes = sizeof(bf16) * stages * 2 * tile_size;
  static constexpr int blocks_together = Width <= 72 && !Masked ? 4 / Groups : 1;

  static index_t blocks(index_t samples, index_t heads, index_t queries) {
    return samples * heads * ((queries + rows - 1) / rows);
  }

  SRA_DEVICE void operator()() const {
    if constexpr (arch::has_warpgroup_products()) run();
  }

 private:
  static constexpr int steps = (Width + 15) / 16;
  using Weights = Pair[tile / 16][1][4];

  SRA_DEVICE void run() const {
    const auto [head, sample, column, first_of_block] = this->part(rows);
    const int first = first_of_block + own_warp() * 16;
    for (int begin = 0; begin < (stages - 1) * tile; begin += tile) copy_tiles(sample, column, begin);
    Queries mine;
    this->load(mine, sample, column, first);
    align_last_step(mine);
    Scores s = {};
    for (int begin = 0; begin < this->keys; begin += tile) {
      arch::wait_for_copies<stages - 2>();
      arch::publish_to_products();
      arch::barrier();  // nor does anybody need the tile before this one any more
      copy_tiles(sample, column, begin + (stages - 1) * tile);
      const std::uint32_t at = arch::shared_address(place_of(begin));
      arch::lend_to_products(s, mine.q);
      multiply_queries(s, mine, by_columns(at, Width));
      arch::commit_products();
      arch::wait_for_products<0>(s, mine.q);
      if (Masked || begin + tile > this->keys) this->hide(s, mine, sample, begin);
      this->raise(s, mine);
      Weights p;
      multiply_values<0>(mine, p, s, at + sizeof(bf16) * tile_size);
      multiply_values<2>(mine, p, s,
                         at + sizeof(bf16) * tile_size);  // while its p are computed, the others multiply
      arch::wait_for_products<0>(p, mine.o);
    }
    this->write(mine, head, sample, column, first);
  }

  /// Where a tile of keys lies, and behind it that of values.
  SRA_DEVICE static bf16* place_of(int begin) {
    return reinterpret_cast<bf16*>(arch::shared_memory()) + begin / tile % stages * 2 * tile_size;
  }
  /// A group of copies, empty after the last tile.
  SRA_DEVICE void copy_tiles(index_t sample, int column, int begin) const {
    if (begin < this->keys) {
      bf16* const to = place_of(begin);
      copy_cores<Width, tile>(to, this->k.head(sample, column), begin, this->keys);
      copy_cores<Width, tile>(to + tile_size, this->v.head(sample, column), begin, this->keys);
    }
    arch::commit_copies();
  }

  /// If 8 columns are left for the last step, it takes those before them a second time, times zero: no tile needs columns
  /// of zeros then.
  SRA_DEVICE static void align_last_step(Queries& mine) {
    if constexpr (Width % 16 != 0)
      for (int i = 0; i < 2; ++i) mine.q[steps - 1][0][2 + i] = mine.q[steps - 1][0][i], mine.q[steps - 1][0][i] = 0;
  }
  SRA_DEVICE static void multiply_queries(Scores& s, const Queries& mine, std::uint64_t keys_at) {
    repeat<steps>([&]<int I>() {
      constexpr int column = 16 * I + 16 <= Width ? 16 * I : Width - 16;
      arch::multiply_add_later<tile, (I > 0), false>(s[0], mine.q[I][0], moved(keys_at, column / 8 * core_bytes));
    });
  }
  /// o += p v for keys 16 First to 16 First + 31, after p has been computed of their scores.
  template <int First>
  SRA_DEVICE void multiply_values(Queries& mine, Weights& p, Scores& s, std::uint32_t values) const {
    this->template weigh<2 * First, 2 * First + 4>(s, mine);
    round_sums<First>(p[First], s);
    round_sums<First + 1>(p[First + 1], s);
    if constexpr (First == 0)
      arch::lend_to_products(p[0], p[1], mine.o);
    else
      arch::lend_to_products(p[First], p[First + 1]);
    repeat<2>([&]<int J>() {
      constexpr int step = First + J;
      const std::uint64_t at = moved(by_rows(values, Width), 2 * step * core_row_bytes(Width));
      multiply_group_by_rows<Width>(mine.o[0], p[step][0], at);
    });
    arch::commit_products();
  }
};

}  // namespace sra::gpu::detail
