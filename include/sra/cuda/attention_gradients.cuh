// What the kernels of attention backward share: their operands, and how they write gradients.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention_tiles.cuh>

#include <cstdint>
#include <limits>

namespace sra::gpu::detail {

/// Operands of attention backward on tensor cores.  A block of threads has one head, of which it takes some keys at a time.
template <int Width, bool Masked>
struct AttentionGradients {
  static_assert(Width % 8 == 0);
  static constexpr float infinity = std::numeric_limits<float>::infinity();

  HeadRows<const bf16> q, k, v, o, dy;
  const float* lse;                             ///< [samples, heads, queries]
  const std::int32_t *query_group, *key_group;  ///< [samples, queries], [samples, keys] if Masked
  HeadGrad<bf16> dq, dk, dv;
  float* sums;  ///< of dq, [samples, heads, queries, Width]; null if there is one turn and dq is neither dk nor dv
  int heads, queries, keys, stages;  ///< stages: tiles of queries that there is room for, 1 or 2
  float scale, base;                 ///< base = scale log2(e)

 protected:
  /// Which one this block has.
  struct Head {
    int number, sample, column;
  };
  SRA_DEVICE Head head() const {
    const int number = arch::computed_late(static_cast<int>(arch::block()));
    return {number, number / heads, number % heads * Width};
  }
  /// Its part of an operand.
  template <class Rows>
  SRA_DEVICE Rows of_head(const Rows& all) const {
    const Head mine = head();
    return all.head(mine.sample, mine.column);
  }
  /// The sums of dq of this head.
  SRA_DEVICE float* partial() const { return sums + static_cast<index_t>(head().number) * queries * Width; }

  SRA_DEVICE bool sees(index_t sample, int query, int key) const {
    return query < queries && key < keys && query_group[sample * queries + query] == key_group[sample * keys + key];
  }

  /// p of a score.  p <= 1 but for rounding; what keys after the last have must not overflow.
  SRA_DEVICE float weight(float score, float shift) const {
    const float x = score * base - shift;
    return arch::fast_exp2(x > 1.0f ? 1.0f : x);
  }

  /// Two elements of dq, of one row, from the turn that begins with key `first`.
  SRA_DEVICE void put_query(const HeadRows<bf16>& to, int query, int d, const float (&x)[2], int first) const {
    if (sums)
      put(partial() + static_cast<index_t>(query) * Width + d, x, first > 0);
    else
      put_pair(to.row(query) + d, x[0] * scale, x[1] * scale, dq.mode == GradMode::accumulate);
  }

  /// After the last turn: dq of its sums.
  SRA_DEVICE void finish() const {
    if (!sums || dq.mode == GradMode::ignore) return;
    arch::barrier();
    const HeadGrad<bf16> to = of_head(dq);
    for (int i = own_thread(); i < queries * (Width / 8); i += arch::threads()) {
      float x[8];
      load(x, partial() + static_cast<index_t>(i) * 8);
      for (float& number : x) number *= scale;
      put(to.rows.row(i / (Width / 8)) + i % (Width / 8) * 8, x, to.mode == GradMode::accumulate);
    }
  }

  /// The gradient of this warp's keys: of 16 from key `first` on in the first strip, `apart` further on in the next.
  template <int Strips>
  SRA_DEVICE void put_rows(const HeadGrad<bf16>& to, const float (&sum)[Strips][Width / 8][4], float factor, int first,
                           int apart) const {
    if (to.mode == GradMode::ignore) return;
    const Place place = first_of_sum(own_lane());
    const bool add = to.mode == GradMode::accumulate;
    repeat<2 * Strips>([&]<int R>() {
      constexpr int i = R / 2, part = R % 2;
      const int key = first + apart * i + place.row + 8 * part;
      if (key >= keys) return;
      bf16* const row = to.rows.row(key) + place.column;
      repeat<Width / 8>(
          [&]<int N>() { put_pair(row + 8 * N, sum[i][N][2 * part] * factor, sum[i][N][2 * part + 1] * factor, add); });
    });
  }
};

}  // namespace sra::gpu::detail
