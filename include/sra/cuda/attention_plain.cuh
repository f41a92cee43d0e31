// Attention without tensor cores, for float and for head sizes and rows that they do not take.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/attention_tiles.cuh>

#include <cmath>
#include <cstdint>
#include <limits>

namespace sra::gpu::detail {

/// a b of two rows, summed in order.
template <int Width, class T>
SRA_DEVICE wide_t<T> dot(const T* a, const T* b) {
  wide_t<T> sum = 0;
  for (int i = 0; i < Width; ++i) sum += number_cast<wide_t<T>>(a[i]) * number_cast<wide_t<T>>(b[i]);
  return sum;
}

/// What the kernels of this file share: a warp has one row, of which a lane has every 32nd element.
template <class T, int Width, bool Masked>
struct PlainAttention {
  using W = wide_t<T>;
  static constexpr int threads = 128, each = (Width + arch::warp_size - 1) / arch::warp_size;
  static constexpr W infinity = std::numeric_limits<W>::infinity();

  HeadRows<const T> q, k, v;
  const std::int32_t *query_group, *key_group;  ///< [samples, queries], [samples, keys] if Masked
  index_t samples;
  int heads, queries, keys;
  W scale, base;  ///< base = scale log2(e)

  static index_t blocks(index_t rows) { return (rows + threads / arch::warp_size - 1) / (threads / arch::warp_size); }
  SRA_DEVICE index_t number() const { return arch::block() * (threads / arch::warp_size) + own_warp(); }

  SRA_DEVICE bool sees(index_t sample, int query, int key) const {
    if constexpr (Masked)
      return query_group[sample * queries + query] == key_group[sample * keys + key];
    else
      return true;
  }

  /// sum += factor * row.
  SRA_DEVICE static void add(W (&sum)[each], W factor, const T* row) {
    for (int i = 0; i < each; ++i)
      if (const int d = i * arch::warp_size + own_lane(); d < Width) sum[i] += factor * number_cast<W>(row[d]);
  }
  SRA_DEVICE static void write(T* to, const W (&sum)[each], W factor, GradMode mode) {
    if (mode == GradMode::ignore) return;
    for (int i = 0; i < each; ++i)
      if (const int d = i * arch::warp_size + own_lane(); d < Width) {
        const W before = mode == GradMode::accumulate ? number_cast<W>(to[d]) : W(0);
        to[d] = number_cast<T>(before + factor * sum[i]);
      }
  }
};

/// o = softmax(scale q k^T) v and its log-sum-exp, one warp a query; lanes have keys for the scores, columns for the
/// sums.
template <class T, int Width, bool Masked>
struct PlainAttentionForward : PlainAttention<T, Width, Masked> {
  using Base = PlainAttention<T, Width, Masked>;
  using typename Base::W;

  HeadRows<T> o;
  W* lse;  ///< [samples, heads, queries]

  SRA_DEVICE void operator()() const {
    const index_t number = this->number(), head = number / this->queries, sample = head / this->heads;
    if (sample >= this->samples) return;
    const index_t column = head % this->heads * Width;
    const int query = static_cast<int>(number % this->queries), lane = own_lane();
    const HeadRows<const T> k_head = this->k.head(sample, column), v_head = this->v.head(sample, column);
    const T* const q_row = this->q.head(sample, column).row(query);
    W top = -Base::infinity, sum = 0, result[Base::each] = {};
    for (int first = 0; first < this->keys; first += arch::warp_size) {
      const int key = first + lane;
      const bool seen = key < this->keys && this->sees(sample, query, key);
      const W score = seen ? dot<Width>(q_row, k_head.row(key)) : -Base::infinity, before = top;
      top = std::fmax(top, score);
      for (int mask = 1; mask < arch::warp_size; mask *= 2) top = std::fmax(top, arch::exchange(top, mask));
      const W shift = top > -Base::infinity ? top * this->base : W(0);
      const W shrink = std::exp2(before * this->base - shift), p = std::exp2(score * this->base - shift);
      sum = sum * shrink + p;
      for (W& x : result) x *= shrink;
      for (int i = 0; i < arch::warp_size && first + i < this->keys; ++i)
        Base::add(result, arch::from_lane(p, i), v_head.row(first + i));
    }
    sum = warp_sum(sum);
    Base::write(o.head(sample, column).row(query), result, sum == 0 ? W(0) : 1 / sum, GradMode::overwrite);
    if (lane == 0) lse[number] = sum == 0 ? Base::infinity : top * this->base + std::log2(sum);
  }
};

/// What backward reads beside q, k and v: p = 2^(base q k^T - lse), ds = p (dy v^T - rowsum(dy o)).
template <class T, int Width, bool Masked>
struct PlainAttentionBackward : PlainAttention<T, Width, Masked> {
  using Base = PlainAttention<T, Width, Masked>;
  using typename Base::W;

  HeadRows<const T> o, dy;
  const W* lse;  ///< [samples, heads, queries]

  struct Score {
    W p, ds;
  };
  SRA_DEVICE Score score(index_t head, int query, int key) const {
    const index_t sample = head / this->heads, column = head % this->heads * Width;
    if (query >= this->queries || key >= this->keys || !this->sees(sample, query, key)) return {W(0), W(0)};
    const T *const q_row = this->q.head(sample, column).row(query), *const k_row =
                                                                        this->k.head(sample, column).row(key);
    const T *const dy_row = dy.head(sample, column).row(query), *const v_row = this->v.head(sample, column).row(key);
    const W x = dot<Width>(q_row, k_row) * this->base - lse[head * this->queries + query];
    const W p = std::exp2(x > W(1) ? W(1) : x);  // x <= 0 but for rounding
    return {p, p * (dot<Width>(dy_row, v_row) - dot<Width>(dy_row, o.head(sample, column).row(query)))};
  }
};

/// dv = p^T dy and dk = scale ds^T q, one warp a key.
template <class T, int Width, bool Masked>
struct PlainKeyGradients : PlainAttentionBackward<T, Width, Masked> {
  using Base = PlainAttentionBackward<T, Width, Masked>;
  using typename Base::Score;
  using typename Base::W;

  HeadGrad<T> dk, dv;

  SRA_DEVICE void operator()() const {
    const index_t number = this->number(), head = number / this->keys, sample = head / this->heads;
    if (sample >= this->samples) return;
    const index_t column = head % this->heads * Width;
    const int key = static_cast<int>(number % this->keys);
    const HeadRows<const T> q_head = this->q.head(sample, column), dy_head = this->dy.head(sample, column);
    W sum_k[Base::each] = {}, sum_v[Base::each] = {};
    for (int first = 0; first < this->queries; first += arch::warp_size) {
      const Score mine = this->score(head, first + own_lane(), key);
      for (int i = 0; i < arch::warp_size && first + i < this->queries; ++i) {
        Base::add(sum_v, arch::from_lane(mine.p, i), dy_head.row(first + i));
        Base::add(sum_k, arch::from_lane(mine.ds, i), q_head.row(first + i));
      }
    }
    Base::write(dv.rows.head(sample, column).row(key), sum_v, W(1), dv.mode);
    Base::write(dk.rows.head(sample, column).row(key), sum_k, this->scale, dk.mode);
  }
};

/// dq = scale ds k, one warp a query; after the gradients of the keys, which dq may be added to.
template <class T, int Width, bool Masked>
struct PlainQueryGradient : PlainAttentionBackward<T, Width, Masked> {
  using Base = PlainAttentionBackward<T, Width, Masked>;
  using typename Base::Score;
  using typename Base::W;

  HeadGrad<T> dq;

  SRA_DEVICE void operator()() const {
    const index_t number = this->number(), head = number / this->queries, sample = head / this->heads;
    if (sample >= this->samples) return;
    const index_t column = head % this->heads * Width;
    const int query = static_cast<int>(number % this->queries);
    const HeadRows<const T> k_head = this->k.head(sample, column);
    W sum[Base::each] = {};
    for (int first = 0; first < this->keys; first += arch::warp_size) {
      const Score mine = this->score(head, query, first + own_lane());
      for (int i = 0; i < arch::warp_size && first + i < this->keys; ++i)
        Base::add(sum, arch::from_lane(mine.ds, i), k_head.row(first + i));
    }
    Base::write(dq.rows.head(sample, column).row(query), sum, this->scale, dq.mode);
  }
};

}  // namespace sra::gpu::detail
