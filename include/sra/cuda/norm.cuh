// Layer norms on the GPU: forward a warp a row, backward a block for some rows of a sample, sums in a fixed order.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cuda/leaf.cuh>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

namespace sra::cuda {

namespace detail {

/// A row in the registers of a warp: lane l holds pieces l, l + 32, … of N numbers.  Rows too long for that are read again.
template <int N, index_t Width, class W>
struct WarpRow {
  static constexpr index_t pieces = Width / N;
  static constexpr int each = static_cast<int>((pieces + arch::warp_size - 1) / arch::warp_size);
  static constexpr bool kept = each * N <= 48;

  W number[kept ? each : 1][N] = {};

  /// The first column of piece k of this lane, or -1.
  static SRA_DEVICE index_t column(int k) {
    const index_t piece = arch::thread() % arch::warp_size + index_t{k} * arch::warp_size;
    return piece < pieces ? piece * N : -1;
  }
  template <class T>
  SRA_DEVICE void keep(int k, const T* row, index_t i) {
    if constexpr (kept) load(number[k], row + i);
  }
  /// Piece k, which begins at column i.
  template <class T>
  SRA_DEVICE W (&at(int k, const T* row, index_t i))[N] {
    if constexpr (kept) return number[k];
    load(number[0], row + i);
    return number[0];
  }
};

/// Norms of rows, a warp each; see norm_forward.
template <int N, class T, class TX, class S, class W, class Shift, class Scale>
struct NormRows {
  static constexpr int threads = 256, warps = threads / arch::warp_size;
  using Row = WarpRow<N, S::width, W>;

  View<T, S> y;
  W* stats;
  View<TX, S> x;
  Shift shift;
  Scale scale;
  W one, eps;
  BranchView<T, TX, S, Scale> branch;
  index_t rows;

  SRA_DEVICE void operator()() const {
    for (index_t row = arch::block() * warps + arch::thread() / arch::warp_size; row < rows;
         row += arch::blocks() * warps)
      norm(row, row / S::sample_rows, row % S::sample_rows);
  }

  SRA_DEVICE void norm(index_t row, index_t b, index_t r) const {
    Row held;
    TX* const in = x.row(b, r);
    W sum = 0;
    for (int k = 0; k < Row::each; ++k) {
      const index_t i = Row::column(k);
      if (i < 0) continue;
      if (branch.y.data) add_branch(b, r, i);
      held.keep(k, in, i);
      const auto& v = held.at(k, in, i);
      for (int j = 0; j < N; ++j) sum += v[j];
    }
    const W mean = warp_sum(sum) / W(S::width);
    W squares = 0;
    for (int k = 0; k < Row::each; ++k) {
      const index_t i = Row::column(k);
      if (i < 0) continue;
      const auto& v = held.at(k, in, i);
      for (int j = 0; j < N; ++j) squares += (v[j] - mean) * (v[j] - mean);
    }
    const W rstd = W(1) / std::sqrt(warp_sum(squares) / W(S::width) + eps);
    if (arch::thread() % arch::warp_size == 0) stats[2 * row] = mean, stats[2 * row + 1] = rstd;
    for (int k = 0; k < Row::each; ++k) {
      const index_t i = Row::column(k);
      if (i < 0) continue;
      const auto& v = held.at(k, in, i);
      W a[N], c[N], out[N];
      load_leaf(a, scale, b, r, i);
      load_leaf(c, shift, b, r, i);
      for (int j = 0; j < N; ++j) out[j] = (v[j] - mean) * rstd * (one + a[j]) + c[j];
      store(y.row(b, r) + i, out);
    }
  }

  SRA_DEVICE void add_branch(index_t b, index_t r, index_t i) const {
    W from[N], gate[N], added[N];
    load(from, branch.from.row(b, r) + i);
    load_leaf(gate, branch.gate, b, r, i);
    load(added, branch.y.row(b, r) + i);
    for (int j = 0; j < N; ++j) from[j] += gate[j] * added[j];
    store(x.row(b, r) + i, from);
  }
};

}  // namespace detail

/// y = (x − mean) rstd (one + scale) + shift, where x = from + gate branch is computed first if there is a branch.  Reads 1
/// (with a branch 2), writes 1 (2) [B, T, D].
/// @param stats [rows, 2]: mean and rstd  @param one 1: scale is an offset (adaLN), 0: it is the factor itself
template <ContextOn<Cuda> C, class T, class TX, class S, class W, class Shift, class Scale>
void norm_forward(C& context, View<T, S> y, W* stats, View<TX, S> x, Shift shift, Scale scale, float one, float eps,
                  BranchView<T, TX, S, Scale> branch = {}) {
  const double bytes = branch ? 2.0 * (sizeof(TX) + sizeof(T)) : sizeof(TX) + sizeof(T);
  launch(context, "norm_forward", {bytes * double(x.shape.size()), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          using Kernel = detail::NormRows<N, T, TX, S, W, Shift, Scale>;
          const index_t rows = x.shape.rows();
          arch::launch_kernel(cuda.stream(), std::min<index_t>(16 * cuda.multiprocessors(), (rows + 7) / 8), 0,
                              Kernel{y, stats, x, shift, scale, one, eps, branch, rows});
        },
        y, x, shift, scale, branch);
  });
}

namespace detail {

/// Kinds of sums that norm_backward makes over rows: of dshift, dscale and dgate.
inline constexpr int norm_sums = 3;

/// Warps of a block of NormBackward: as many as can keep sums of their own in half of the shared memory.
constexpr int norm_warps(index_t sums) {
  return static_cast<int>(std::clamp<index_t>(100 * 1024 / (sums * index_t{sizeof(float)}), 1, 8));
}
/// Whether the sums of one warp fit into shared memory; otherwise it keeps them where they go.
SRA_FN constexpr bool norm_sums_shared(index_t sums) { return sums * index_t{sizeof(float)} <= 220 * 1024; }

/// Gradients of rows, a block for rows_each rows of one sample, a warp a row; every warp adds up its own rows in order, then
/// the block its warps: partial[block] = [groups, 3, D].
template <int N, int Warps, class T, class TX, class S, class W, class Scale, class DX>
struct NormBackward {
  static constexpr int threads = Warps * arch::warp_size;
  static constexpr index_t D = S::width;
  using Row = WarpRow<N, D, W>;

  View<const T, S> dy;
  const W* stats;
  View<TX, S> x;
  Scale scale;
  W one;
  DX dx;
  BranchView<T, TX, S, Scale> branch;
  Grad<T, S> dbranch;
  W* partial;
  index_t groups, chunks, rows_each;

  SRA_DEVICE void operator()() const {
    const index_t size = groups * norm_sums * D, b = arch::block() / chunks, first = arch::block() % chunks * rows_each,
                  last = first + rows_each < S::sample_rows ? first + rows_each : S::sample_rows;
    const int warp = arch::thread() / arch::warp_size, lane = arch::thread() % arch::warp_size;
    W* const result = partial + arch::block() * size;
    W* const all = norm_sums_shared(size) ? reinterpret_cast<W*>(arch::shared_memory()) : result;
    W* const mine = all + warp * size;
    for (index_t i = lane; i < size; i += arch::warp_size) mine[i] = 0;
    arch::warp_barrier();
    for (index_t r = first + warp; r < last; r += Warps) row(b, r, mine);
    if (all == result) return;
    arch::barrier();
    for (index_t i = arch::thread(); i < size; i += threads) {
      W sum = all[i];
      for (int w = 1; w < Warps; ++w) sum += all[w * size + i];
      result[i] = sum;
    }
  }

  SRA_DEVICE void row(index_t b, index_t r, W* sums) const {
    const index_t row = b * S::sample_rows + r;
    const W mean = stats[2 * row], rstd = stats[2 * row + 1];
    if constexpr (Scale::broadcast == Broadcast::grouped) sums += scale.group.row(b, 0)[r] * norm_sums * D;
    const T* const up = dy.row(b, r);
    const TX* const in = x.row(b, r);
    Row ups, ins;
    W a = 0, c = 0;
    for (int k = 0; k < Row::each; ++k) {
      const index_t i = Row::column(k);
      if (i < 0) continue;
      ups.keep(k, up, i);
      ins.keep(k, in, i);
      const auto &u = ups.at(k, up, i), &v = ins.at(k, in, i);
      W factor[N], product[N];
      load_leaf(factor, scale, b, r, i);
      for (int j = 0; j < N; ++j) {
        const W n = (v[j] - mean) * rstd, dn = u[j] * (one + factor[j]);
        product[j] = u[j] * n;
        a += dn;
        c += dn * n;
      }
      accumulate(sums + i, u);
      accumulate(sums + D + i, product);
    }
    a = warp_sum(a) / W(D);
    c = warp_sum(c) / W(D);
    if (!dx) return;
    for (int k = 0; k < Row::each; ++k) {
      const index_t i = Row::column(k);
      if (i < 0) continue;
      const auto &u = ups.at(k, up, i), &v = ins.at(k, in, i);
      W factor[N], d[N];
      load_leaf(factor, scale, b, r, i);
      for (int j = 0; j < N; ++j) d[j] = rstd * (u[j] * (one + factor[j]) - a - (v[j] - mean) * rstd * c);
      if (dx.mode == GradMode::accumulate) {
        W before[N];
        load(before, dx.to.row(b, r) + i);
        for (int j = 0; j < N; ++j) d[j] += before[j];
      }
      store(dx.to.row(b, r) + i, d);
      if (branch.y.data) pull_branch(b, r, i, d, sums);
    }
  }

  /// From all of dx, as it was stored.
  SRA_DEVICE void pull_branch(index_t b, index_t r, index_t i, W (&d)[N], W* sums) const {
    W gate[N], added[N];
    load_leaf(gate, branch.gate, b, r, i);
    load(added, branch.y.row(b, r) + i);
    for (int j = 0; j < N; ++j) d[j] = number_cast<W>(number_cast<TX>(d[j]));
    for (int j = 0; j < N; ++j) gate[j] *= d[j];
    for (int j = 0; j < N; ++j) added[j] *= d[j];
    accumulate(sums + 2 * D + i, added);
    if (dbranch) put(dbranch.to.row(b, r) + i, gate, dbranch.mode == GradMode::accumulate);
  }
};

/// Adds up NormBackward's partial sums in order: a sample's blocks, or all blocks in double where samples share them.
template <class W, class G>
struct NormFold {
  static constexpr index_t D = decltype(G::to)::shape_type::width;

  const W* partial;
  G grad[norm_sums];
  index_t groups, blocks;  ///< blocks that make one result
  bool shared;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t i = at % D, kind = at / D % norm_sums, g = at / D / norm_sums % groups,
                  b = at / D / norm_sums / groups;
    const G& to = grad[kind];
    if (!to) return;
    const W* from = partial + (b * blocks * groups + g) * norm_sums * D + kind * D + i;
    auto& result = shared ? to.to.data[i] : groups == 1 ? to.to.sample(b)[i] : to.to.row(b, g)[i];
    using R = std::remove_cvref_t<decltype(result)>;
    const bool add = to.mode == GradMode::accumulate;
    if (shared) {
      double sum = add ? number_cast<double>(result) : 0;
      for (index_t n = 0; n < blocks; ++n) sum += static_cast<double>(from[n * norm_sums * D]);
      result = number_cast<R>(sum);
    } else {
      W sum = from[0];
      for (index_t n = 1; n < blocks; ++n) sum += from[n * groups * norm_sums * D];
      result = number_cast<R>(add ? number_cast<W>(result) + sum : sum);
    }
  }
};

}  // namespace detail

/// Gradients of norm_forward.  With n = (x − mean) rstd and dn = dy (one + scale): dx = rstd (dn − mean(dn) − n mean(dn n)),
/// dshift = Σ dy, dscale = Σ dy n over the rows that share them, in a fixed order.  With a branch, from dx, which then holds all
/// of x's gradient: dbranch = gate dx, dgate = Σ dx branch.  Reads 2 (with a branch 3), writes 1 (2) [B, T, D].
template <ContextOn<Cuda> C, class T, class TX, class S, class W, class Scale, class DX, class DShift, class DScale>
void norm_backward(C& context, View<const T, S> dy, const W* stats, View<TX, S> x, Scale scale, float one, DX dx,
                   DShift dshift, DScale dscale, BranchView<T, TX, S, Scale> branch = {}, Grad<T, S> dbranch = {},
                   DScale dgate = {}) {
  static_assert(std::is_same_v<DShift, DScale>, "norm: gradients of shift and scale are of one type");
  constexpr bool shared = Scale::broadcast == Broadcast::row;
  constexpr index_t D = S::width,
                    groups = Scale::broadcast == Broadcast::grouped ? decltype(dscale.to)::shape_type::sample_rows : 1,
                    sums = groups * detail::norm_sums * D;
  constexpr int warps = detail::norm_warps(sums);
  constexpr index_t wanted = 264,
                    most = (S::sample_rows + warps - 1) / warps;  // blocks that fill a large device twice over
  const index_t samples = x.shape.samples(),
                chunks = std::clamp<index_t>(wanted / std::max<index_t>(1, samples), 1, most),
                rows_each = (S::sample_rows + chunks - 1) / chunks, blocks = samples * chunks;
  const Arena::Mark before = context.workspace().activations.mark();
  W* partial = context.template take<W>(std::max<index_t>(1, blocks) * sums);
  const double bytes = sizeof(T) + 2.0 * sizeof(TX) + (dx.mode == GradMode::accumulate ? sizeof(TX) : 0) +
                       (branch ? 2.0 * sizeof(T) : 0.0);
  launch(context, "norm_backward", {bytes * double(x.shape.size()), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          using Kernel = detail::NormBackward<N, warps, T, TX, S, W, Scale, DX>;
          arch::launch_kernel(
              cuda.stream(), blocks, detail::norm_sums_shared(sums) ? warps * sums * sizeof(W) : 0,
              Kernel{dy, stats, x, scale, one, dx, branch, dbranch, partial, groups, chunks, rows_each});
        },
        dy, x, scale, dx, branch, dbranch);
  });
  launch(context, "norm_sums", {double(blocks * sums) * sizeof(W), 0}, [&](Cuda& cuda) {
    const index_t results = shared ? 1 : samples;
    for_each(cuda, results * sums,
             detail::NormFold<W, DScale>{partial, {dshift, dscale, dgate}, groups, shared ? blocks : chunks, shared});
  });
  context.workspace().activations.pop(before);
}

}  // namespace sra::cuda
