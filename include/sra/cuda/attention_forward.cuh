// Attention forward on tensor cores: bf16, head sizes that are multiples of 8, any number of tokens.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention_queries.cuh>

#include <cstddef>

namespace sra::gpu::detail {

/// o = softmax(scale q k^T) v and its log-sum-exp.  A warp has 16 Strips queries, their sums stay in registers; keys
/// and values pass through shared memory in tiles of 64, of which the next is copied while one is used.  Sums and
/// statistics in float, in the order of the keys; FlashAttention-2, arXiv:2307.08691, algorithm 1.
/// Reads q, writes o once; reads k and v once per block of queries, from the second-level cache but for the first time.
template <int Width, int Strips, int Warps, bool Masked>
struct AttentionForward : AttentionQueries<Width, Strips, Masked> {
  using Base = AttentionQueries<Width, Strips, Masked>;
  using typename Base::Queries;
  using typename Base::Scores;
  static constexpr int threads = arch::warp_size * Warps;
  static constexpr int rows = 16 * Strips * Warps;  ///< queries of a block
  static constexpr int tile = Base::tile, pitch = tile_pitch(Width);
  static constexpr std::size_t shared_bytes = sizeof(bf16) * 4 * tile * pitch;

  static index_t blocks(index_t samples, index_t heads, index_t queries) {
    return samples * heads * ((queries + rows - 1) / rows);
  }

  SRA_DEVICE void operator()() const {
    const auto [head, sample, column, first_of_block] = this->part(rows);
    const int first = first_of_block + own_warp() * 16 * Strips;
    const HeadRows<const bf16> key_rows = this->k.head(sample, column), value_rows = this->v.head(sample, column);
    bf16* const shared = reinterpret_cast<bf16*>(arch::shared_memory());
    copy_tiles(shared, key_rows, value_rows, 0);
    Queries mine;
    this->load(mine, sample, column, first);
    for (int begin = 0; begin < this->keys; begin += tile) {
      const int stage = begin / tile & 1;
      if (begin + tile < this->keys)
        copy_tiles(shared + (stage ^ 1) * 2 * tile * pitch, key_rows, value_rows, begin + tile);
      arch::commit_copies();
      arch::wait_for_copies<1>();
      arch::barrier();
      const bf16* const at = shared + stage * 2 * tile * pitch;
      Scores s = {};
      multiply_queries(s, mine, at);
      if (Masked || begin + tile > this->keys) this->hide(s, mine, sample, begin);
      this->raise(s, mine);
      this->weigh(s, mine);
      repeat<tile / 16>([&]<int J>() {
        Pair p[Strips][4];
        round_sums<J>(p, s);
        multiply_by_rows<pitch, (tile + 16 * J) * pitch>(mine.o, p, at);
      });
      arch::barrier();
    }
    this->write(mine, head, sample, column, first);
  }

 private:
  SRA_DEVICE void copy_tiles(bf16* to, HeadRows<const bf16> key_rows, HeadRows<const bf16> value_rows,
                             int first) const {
    copy_tile<Width, tile>(to, key_rows, first, this->keys);
    copy_tile<Width, tile>(to + tile * pitch, value_rows, first, this->keys);
    if (first == 0) arch::commit_copies();
  }

  SRA_DEVICE void multiply_queries(Scores& s, const Queries& mine, const bf16* key_tile) const {
    repeat<Width / 16>([&]<int I>() { multiply_by_columns<pitch, 16 * I>(s, mine.q[I], key_tile); });
    if constexpr (Width % 16 != 0) {
      Pair last[Strips][2];
      for (int i = 0; i < Strips; ++i) last[i][0] = mine.q[Width / 16][i][0], last[i][1] = mine.q[Width / 16][i][1];
      multiply_by_columns<pitch, Width - 8>(s, last, key_tile);
    }
  }
};

}  // namespace sra::gpu::detail
