// Attention of the CPU, forward and backward: softmax(scale q k^T) v without a score matrix of the batch.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/dtype.hpp>
#include <sra/cpu/gemm.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace sra::backend {

/// What attention reads.  Head h of token t of sample s of q starts at q + s * q_sample + t * q_token + h * width; k
/// and v likewise.  If the groups are set, only tokens of the same group see each other.
template <class T>
struct AttentionArgs {
  index_t samples = 0, heads = 0, queries = 0, keys = 0, width = 0;
  const T *q = nullptr, *k = nullptr, *v = nullptr;
  index_t q_token = 0, k_token = 0, v_token = 0;     ///< elements between tokens
  index_t q_sample = 0, k_sample = 0, v_sample = 0;  ///< elements between samples
  const std::int32_t *query_group = nullptr,
                     *key_group = nullptr;  ///< [samples, queries], [samples, keys], or both null
  wide_t<T> scale = 1;                      ///< > 0
};

/// What attention_backward reads of the forward pass and of the gradient of its result.
template <class T>
struct AttentionResult {
  const T* o = nullptr;
  index_t o_token = 0, o_sample = 0;
  const wide_t<T>* lse = nullptr;  ///< [samples, heads, queries]
  const T* dy = nullptr;           ///< the gradient of o
  index_t dy_token = 0, dy_sample = 0;
};

/// Where one gradient of attention goes, laid out like q, k and v.
template <class T>
struct AttentionGrad {
  T* data = nullptr;
  index_t token = 0, sample = 0;
  GradMode mode = GradMode::ignore;
};

namespace detail {

template <class T>
inline constexpr T log2_e = T(1.4426950408889634);

/// The sizes of one task: some queries of one head of one sample against all keys.
template <class T>
struct AttentionTask {
  using W = wide_t<T>;
  static constexpr bool direct = std::is_same_v<T, W>;  ///< sums may be kept where results go

  const AttentionArgs<T>& args;
  index_t rows;  ///< queries at a time
  index_t pitch;
  std::size_t product_bytes, tile_bytes;

  /// @param elements of a tile of scores, such that all tiles of a task stay in the second-level cache
  AttentionTask(Isa isa, const AttentionArgs<T>& a, index_t elements) : args(a) {
    rows = std::max<index_t>(
        1, std::min({std::clamp<index_t>(elements / std::max<index_t>(1, a.keys), 16, 256), a.queries}));
    pitch = round_up(a.keys, lanes) + 16;  // not a power of two: columns of a tile spread over all sets of a cache
    tile_bytes = round_up(sizeof(W) * static_cast<std::size_t>(rows * pitch), alignment_bytes);
    product_bytes = round_up(std::max({gemm_serial_bytes<W, T, T>(isa, rows, a.keys, a.width),
                                       gemm_serial_bytes<W, T, T>(isa, rows, a.width, a.keys),
                                       gemm_serial_bytes<T>(isa, rows, a.width, a.keys),
                                       gemm_serial_bytes<W, T, T>(isa, a.keys, a.width, rows)}),
                             alignment_bytes);
  }

  index_t row_blocks() const { return (args.queries + rows - 1) / rows; }
  std::size_t row_bytes() const { return round_up(sizeof(W) * static_cast<std::size_t>(rows), alignment_bytes); }
  /// Of the sums of `tokens` rows of one head, where results are narrower.
  std::size_t sum_bytes(index_t tokens) const {
    return direct ? 0 : round_up(sizeof(W) * static_cast<std::size_t>(tokens * args.width), alignment_bytes);
  }

  /// The tokens [first, first + count) of one head as a matrix [count, width].
  template <class U>
  Matrix<U> tokens(U* data, index_t token, index_t sample, index_t s, index_t h, index_t first, index_t count) const {
    return {data + s * sample + first * token + h * args.width, count, args.width, token, 1};
  }
  Matrix<const T> q(index_t s, index_t h, index_t first, index_t count) const {
    return tokens(args.q, args.q_token, args.q_sample, s, h, first, count);
  }
  Matrix<const T> k(index_t s, index_t h) const {
    return tokens(args.k, args.k_token, args.k_sample, s, h, 0, args.keys);
  }
  Matrix<const T> v(index_t s, index_t h) const {
    return tokens(args.v, args.v_token, args.v_sample, s, h, 0, args.keys);
  }
  Matrix<W> tile(std::byte* memory, index_t count) const {
    return {reinterpret_cast<W*>(memory), count, args.keys, pitch, 1};
  }
  /// A tile once its numbers are of type T: at the start of each row, where wider ones stood.
  static Matrix<T> narrow(Matrix<W> tile) {
    constexpr index_t ratio = sizeof(W) / sizeof(T);
    return {reinterpret_cast<T*>(tile.data), tile.rows, tile.columns, tile.row_stride * ratio, 1};
  }
  /// Where the sums of a result are kept: in the result, or in this memory.
  Matrix<W> sums(std::byte* memory, Matrix<T> result) const {
    if constexpr (direct)
      return result;
    else
      return {reinterpret_cast<W*>(memory), result.rows, result.columns, args.width, 1};
  }
};

/// Makes scores -inf where the key is of another group, and after the last key to the end of its block.
template <class T>
[[gnu::always_inline]] inline void hide_scores(T* scores, index_t keys, const std::int32_t* key_group,
                                               const std::int32_t* group) {
  constexpr T hidden = -std::numeric_limits<T>::infinity();
  if (key_group)
    for (index_t j = 0; j < keys; j += lanes) {
      T a[lanes];
      std::int32_t groups[lanes];
      load_block(a, scores + j, lanes);
      load_block(groups, key_group + j, keys - j);
      for (index_t i = 0; i < lanes; ++i) a[i] = maths::select(groups[i] == *group, a[i], hidden);
      store_block(scores + j, a, lanes);
    }
  for (index_t j = keys; j % lanes != 0; ++j) scores[j] = hidden;
}

/// Replaces every row of scores by e^(scale * (score - largest)), as type To at the row's start; one_over[r] = 1 / sum,
/// lse[r] as attention_forward says.
template <class T, class To>
struct SoftmaxRows {
  static_assert(sizeof(To) <= sizeof(T));
  Matrix<T> scores;
  T base;                                       ///< scale log2(e)
  const std::int32_t *query_group, *key_group;  ///< of the first row; of the first key
  wide_t<T>*one_over, *lse;

  void operator()(index_t begin, index_t end, int) const {
    for (index_t r = begin; r < end; ++r) row(r);
  }

  [[gnu::always_inline]] void row(index_t r) const {
    constexpr T lowest = -std::numeric_limits<T>::infinity();
    T* const s = scores.data + r * scores.row_stride;
    hide_scores(s, scores.columns, key_group, query_group + (key_group ? r : 0));
    T largest[lanes], sum[lanes];
    for (index_t i = 0; i < lanes; ++i) largest[i] = lowest, sum[i] = 0;
    for (index_t j = 0; j < scores.columns; j += lanes)
      for (index_t i = 0; i < lanes; ++i) largest[i] = maths::select(s[j + i] > largest[i], s[j + i], largest[i]);
    const T top = max_block(largest), from = top > lowest ? top : T(0);  // no visible key: 2^-inf = 0 everywhere
    for (index_t j = 0; j < scores.columns; j += lanes) {
      T a[lanes];
      for (index_t i = 0; i < lanes; ++i) {
        a[i] = maths::exp2_up_to_127((s[j + i] - from) * base);
        sum[i] += a[i];
      }
      store_block(reinterpret_cast<To*>(s) + j, a, lanes);  // at or before what has been read
    }
    const T total = sum_block(sum);
    one_over[r] = total == 0 ? T(0) : 1 / total;
    lse[r] = total == 0 ? std::numeric_limits<T>::infinity() : from * base + std::log2(total);
  }
};

/// scores -> p = e^(scale * score - lse ln 2), dp -> ds = scale p (dp - sum of dy o), as type U at the rows' starts.
template <class T, class U>
struct SoftmaxPullRows {
  Matrix<T> scores, dp;
  Matrix<const U> o, dy;
  T scale, base;
  const std::int32_t *query_group, *key_group;
  const T* lse;

  void operator()(index_t begin, index_t end, int) const {
    for (index_t r = begin; r < end; ++r) row(r);
  }

  [[gnu::always_inline]] void row(index_t r) const {
    T sum[lanes];
    for (index_t i = 0; i < lanes; ++i) sum[i] = 0;
    for (index_t j = 0; j < o.columns; j += lanes) {
      T a[lanes], b[lanes];
      load_block(a, o.data + r * o.row_stride + j, o.columns - j);
      load_block(b, dy.data + r * dy.row_stride + j, o.columns - j);
      for (index_t i = 0; i < lanes; ++i) sum[i] += a[i] * b[i];
    }
    const T mean = sum_block(sum), shift = lse[r];
    T* const s = scores.data + r * scores.row_stride;
    T* const d = dp.data + r * dp.row_stride;
    hide_scores(s, scores.columns, key_group, query_group + (key_group ? r : 0));
    for (index_t j = 0; j < scores.columns; j += lanes) {
      T p[lanes], ds[lanes];
      for (index_t i = 0; i < lanes; ++i) {
        p[i] = maths::exp2_up_to_127(maths::detail::at_most(T(1), s[j + i] * base - shift));  // 0 but for rounding
        ds[i] = p[i] * (d[j + i] - mean) * scale;
      }
      store_block(reinterpret_cast<U*>(s) + j, p, lanes);
      store_block(reinterpret_cast<U*>(d) + j, ds, lanes);
    }
  }
};

/// to = from, each row times its factor.
template <class T, class W>
struct ScaleRows {
  Matrix<T> to;
  Matrix<W> from;
  const W* factor;

  void operator()(index_t begin, index_t end, int) const {
    for (index_t r = begin; r < end; ++r)
      for (index_t j = 0; j < to.columns; j += lanes) {
        W a[lanes];
        load_block(a, from.data + r * from.row_stride + j, to.columns - j);
        for (index_t i = 0; i < lanes; ++i) a[i] *= factor[r];
        store_block(to.data + r * to.row_stride + j, a, to.columns - j);
      }
  }
};

/// to = from, or to += from.
template <class T, class W>
struct PutRows {
  Matrix<T> to;
  Matrix<W> from;
  bool add;

  void operator()(index_t begin, index_t end, int) const {
    for (index_t r = begin; r < end; ++r)
      for (index_t j = 0; j < to.columns; j += lanes) {
        W a[lanes];
        load_block(a, from.data + r * from.row_stride + j, to.columns - j);
        if (add)
          accumulate_block(to.data + r * to.row_stride + j, a, to.columns - j);
        else
          store_block(to.data + r * to.row_stride + j, a, to.columns - j);
      }
  }
};

}  // namespace detail

/// o = softmax(scale q k^T) v for every head; scores and sums in the wide type, probabilities in T.  A query that sees no
/// key gets o = 0.
/// @param o head h of token t of sample s starts at o + s * o_sample + t * o_token + h * width
/// @param lse [samples, heads, queries], kept for backward: log2 of the sum of 2^(scale log2(e) q k); +inf where no key
/// is seen.  Workspace: some 65,536 scores (or 16 rows of them) and packed k or v per worker.  Same bits for any
/// number of threads.
template <class T>
void attention_forward(Cpu& cpu, T* o, index_t o_token, index_t o_sample, wide_t<T>* lse,
                       const AttentionArgs<T>& args) {
  using W = wide_t<T>;
  const Isa isa = cpu.isa();
  const detail::AttentionTask<T> task(isa, args, 65536);
  const index_t blocks = task.row_blocks();
  cpu.threads().for_each(args.samples * args.heads * blocks, [&](index_t i, int worker) {
    const index_t s = i / blocks / args.heads, h = i / blocks % args.heads, first = i % blocks * task.rows;
    const index_t count = std::min(task.rows, args.queries - first);
    const std::size_t used = task.product_bytes + task.tile_bytes;
    std::byte* memory = cpu.scratch(worker, used + task.row_bytes() + task.sum_bytes(task.rows));
    const Matrix<W> scores = task.tile(memory + task.product_bytes, count);
    W* one_over = reinterpret_cast<W*>(memory + used);
    gemm_serial(isa, memory, scores, task.q(s, h, first, count), task.k(s, h).transposed(), GradMode::overwrite);
    const detail::SoftmaxRows<W, T> softmax{scores,
                                            args.scale * detail::log2_e<W>,
                                            args.query_group ? args.query_group + s * args.queries + first : nullptr,
                                            args.query_group ? args.key_group + s * args.keys : nullptr,
                                            one_over,
                                            lse + (s * args.heads + h) * args.queries + first};
    run_as(isa, 0, count, worker, softmax);
    const Matrix<T> result = task.tokens(o, o_token, o_sample, s, h, first, count);
    const Matrix<W> sums = task.sums(memory + used + task.row_bytes(), result);
    gemm_serial(isa, memory, sums, task.narrow(scores), task.v(s, h), GradMode::overwrite);
    run_as(isa, 0, count, worker, detail::ScaleRows<T, W>{result, sums, one_over});
  });
}

/// The gradients of attention_forward: with p = softmax(scale q k^T), recomputed from lse, and dp = dy v^T,
/// ds = scale p (dp - rowsum(dy o)), dq = ds k, dk = ds^T q, dv = p^T dy.  FlashAttention-2, arXiv:2307.08691,
/// algorithm 2. One worker does one head of one sample, its queries in order: same bits for any number of threads.
template <class T>
void attention_backward(Cpu& cpu, AttentionGrad<T> dq, AttentionGrad<T> dk, AttentionGrad<T> dv,
                        const AttentionResult<T>& result, const AttentionArgs<T>& args) {
  using W = wide_t<T>;
  const Isa isa = cpu.isa();
  const detail::AttentionTask<T> task(isa, args, 32768);
  cpu.threads().for_each(args.samples * args.heads, [&](index_t i, int worker) {
    const index_t s = i / args.heads, h = i % args.heads;
    const std::size_t used = task.product_bytes + 2 * task.tile_bytes, sum_bytes = task.sum_bytes(args.keys);
    std::byte* memory = cpu.scratch(worker, used + 2 * sum_bytes);
    const Matrix<T> to_v = task.tokens(dv.data, dv.token, dv.sample, s, h, 0, args.keys);
    const Matrix<T> to_k = task.tokens(dk.data, dk.token, dk.sample, s, h, 0, args.keys);
    const Matrix<W> sum_v = task.sums(memory + used, to_v), sum_k = task.sums(memory + used + sum_bytes, to_k);
    const auto adding = [&](GradMode mode, index_t first) {
      if (mode == GradMode::ignore || first > 0) return mode == GradMode::ignore ? mode : GradMode::accumulate;
      return task.direct ? mode : GradMode::overwrite;
    };
    index_t first = 0;
    do {  // also once for no queries, so that gradients to be overwritten become zero
      const index_t count = std::min(task.rows, args.queries - first);
      const Matrix<W> p = task.tile(memory + task.product_bytes, count);
      const Matrix<W> ds = task.tile(memory + task.product_bytes + task.tile_bytes, count);
      const Matrix<const T> q = task.q(s, h, first, count);
      const Matrix<const T> o = task.tokens(result.o, result.o_token, result.o_sample, s, h, first, count);
      const Matrix<const T> dy = task.tokens(result.dy, result.dy_token, result.dy_sample, s, h, first, count);
      gemm_serial(isa, memory, p, q, task.k(s, h).transposed(), GradMode::overwrite);
      gemm_serial(isa, memory, ds, dy, task.v(s, h).transposed(), GradMode::overwrite);
      const detail::SoftmaxPullRows<W, T> pull{p,
                                               ds,
                                               o,
                                               dy,
                                               args.scale,
                                               args.scale * detail::log2_e<W>,
                                               args.query_group ? args.query_group + s * args.queries + first : nullptr,
                                               args.query_group ? args.key_group + s * args.keys : nullptr,
                                               result.lse + (s * args.heads + h) * args.queries + first};
      run_as(isa, 0, count, worker, pull);
      gemm_serial(isa, memory, sum_v, task.narrow(p).transposed(), dy, adding(dv.mode, first));
      gemm_serial(isa, memory, sum_k, task.narrow(ds).transposed(), q, adding(dk.mode, first));
      gemm_serial(isa, memory, task.tokens(dq.data, dq.token, dq.sample, s, h, first, count), task.narrow(ds),
                  task.k(s, h), dq.mode);
      first += count;
    } while (first < args.queries);
    if constexpr (!task.direct) {
      const auto put = [&](Matrix<T> to, Matrix<W> sums, GradMode mode) {
        if (mode == GradMode::ignore) return;
        run_as(isa, 0, args.keys, worker, detail::PutRows<T, W>{to, sums, mode == GradMode::accumulate});
      };
      put(to_v, sum_v, dv.mode);
      put(to_k, sum_k, dk.mode);
    }
  });
}

}  // namespace sra::backend
