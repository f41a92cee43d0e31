// Layer norms on the GPU: forward a warp a row, backward a block for some rows of a sample, sums in a fixed order.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cuda/leaf.cuh>
#include <sra/cuda/row_team.cuh>
#include <sra/cuda/warp_row.cuh>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <type_traits>

namespace sra::gpu {

namespace detail {

/// Norms of rows, a warp each; see norm_forward.  In bf16 8 bytes an element with a branch, else 4; a lane has all of its
/// vectors of 16 bytes in flight at once (D = 1152: 10, or 5).
template <int N, class T, class TX, class S, class W, class Shift, class Scale>
struct NormRows {
  using Row = WarpRow<N, S::width, TX>;

  View<T, S> y;
  W* stats;
  View<TX, S> x;
  Shift shift;
  Scale scale;
  W one, eps;
  BranchView<T, TX, S, Scale> branch;

  SRA_DEVICE void row(index_t row, int lane) const {
    const index_t b = row / S::sample_rows, r = row % S::sample_rows;
    Row held(branch.y.data ? branch.from.row(b, r) : x.row(b, r));
    if (branch.y.data) add_branch(held, b, r);
    W sum = 0;
    Row::for_pieces([&](int k, index_t i) {
      W v[N];
      held.get(v, k, i);
      for (int j = 0; j < N; ++j) sum += v[j];
    });
    const W mean = warp_sum(sum) / W(S::width);
    W squares = 0;
    Row::for_pieces([&](int k, index_t i) {
      W v[N];
      held.get(v, k, i);
      for (int j = 0; j < N; ++j) squares += (v[j] - mean) * (v[j] - mean);
    });
    const W rstd = W(1) / std::sqrt(warp_sum(squares) / W(S::width) + eps);
    if (lane == 0) stats[2 * row] = mean, stats[2 * row + 1] = rstd;
    Row::for_pieces([&](int k, index_t i) {
      W v[N], a[N], c[N], out[N];
      held.get(v, k, i);
      load_leaf(a, scale, b, r, i);
      load_leaf(c, shift, b, r, i);
      for (int j = 0; j < N; ++j) out[j] = (v[j] - mean) * rstd * (one + a[j]) + c[j];
      store(y.row(b, r) + i, out);
    });
  }

  SRA_DEVICE void add_branch(Row& held, index_t b, index_t r) const {
    const WarpRow<N, S::width, T> added(branch.y.row(b, r));
    TX* const sum = x.row(b, r);
    Row::for_pieces([&](int k, index_t i) {
      W from[N], gate[N], more[N];
      held.get(from, k, i);
      load_leaf(gate, branch.gate, b, r, i);
      added.get(more, k, i);
      for (int j = 0; j < N; ++j) from[j] += gate[j] * more[j];
      held.set(from, sum, k, i);
    });
    held.row = sum;
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
          detail::for_rows(cuda, x.shape.rows(), Kernel{y, stats, x, shift, scale, one, eps, branch});
        },
        y, x, shift, scale, branch);
  });
}

namespace detail {

/// Kinds of sums that norm_backward makes over rows: of dshift, dscale and dgate.
inline constexpr int norm_sums = 3;

/// Whether a team's sums over rows fit into shared memory; otherwise they are added up where they go.
SRA_FN constexpr bool norm_sums_shared(index_t sums) { return sums * index_t{sizeof(float)} <= 200 * 1024; }
/// Teams of a block of NormBackward, if one has so many threads.
constexpr int norm_teams(int threads, index_t sums) {
  return static_cast<int>(
      std::clamp<index_t>(100 * 1024 / (sums * index_t{sizeof(float)}), 1, std::max(1, 192 / threads)));
}

/// Gradients of rows, a block for rows_each rows of one sample, whose teams take turns.  A thread adds up its columns of its
/// team's rows in order, then the block its teams: partial[block] = [groups, 3, D].  A sample's last block adds up those of all
/// its blocks in order; where samples share the sums, NormFold does.
///
/// In bf16 12 bytes an element with a branch (reads 8, writes 4), else 6, or 8 where dx is added to.  A thread has its 8 columns
/// of 4 tensors of 2 rows in flight, 128 bytes, and at most 128 registers, so that a multiprocessor has some 500 threads.
template <int N, int Teams, class T, class TX, class S, class W, class Scale, class DX, class G>
struct NormBackward {
  using Team = RowTeam<N, S::width>;
  static constexpr int threads = Teams * Team::threads, blocks_together = std::max(1, 512 / threads);
  static constexpr index_t D = S::width;
  static constexpr bool grouped = Scale::broadcast == Broadcast::grouped, shared = Scale::broadcast == Broadcast::row;

  View<const T, S> dy;
  const W* stats;
  View<TX, S> x;
  Scale scale;
  W one;
  DX dx;
  BranchView<T, TX, S, Scale> branch;
  Grad<T, S> dbranch;
  G grad[norm_sums];
  W* partial;
  unsigned* arrived;  ///< how many of a sample's blocks have ended
  index_t groups, chunks, rows_each;

  /// Of this thread's columns: the factor of dy and the sums, unless they are others for every group.
  struct Columns {
    W factor[Team::each][N], sums[norm_sums][Team::each][N];
    W* memory;  ///< of the team's sums: [groups, 3, D]
  };
  /// Columns [i, i + N) of row r of sample b, this thread's piece k.
  struct Place {
    index_t b, r, i;
    int k;
  };
  /// What is read there, as it is in memory.
  struct Piece {
    Vector<T, N> up, added;
    Vector<TX, N> in, before;
  };

  SRA_DEVICE void operator()() const {
    const index_t size = groups * norm_sums * D, b = arch::block() / chunks, first = arch::block() % chunks * rows_each,
                  last = first + rows_each < S::sample_rows ? first + rows_each : S::sample_rows;
    const int team = arch::thread() / Team::threads;
    W* const room = reinterpret_cast<W*>(arch::shared_memory());
    W* const result = partial + arch::block() * size;
    W* const all = norm_sums_shared(size) ? room + Teams * Team::room : result;
    Columns mine{};
    begin(mine, b, all + team * size);
    int turn = 0;
    for (index_t r = first; r < last; r += Teams * Team::rows, ++turn)
      rows(mine, {b, r + team * Team::rows, 0, 0}, last, room + team * Team::room, turn);
    if constexpr (!grouped)
      for_columns([&](int k, index_t i) {
        for (int kind = 0; kind < norm_sums; ++kind) store(mine.memory + kind * D + i, mine.sums[kind][k]);
      });
    if (all != result) {
      arch::barrier();
      for (index_t i = arch::thread(); i < size; i += threads) {
        W sum = all[i];
        for (int t = 1; t < Teams; ++t) sum += all[t * size + i];
        result[i] = sum;
      }
    }
    if constexpr (!shared) finish(b);
  }

  /// Lets the sample's last block add up what its blocks have summed.
  SRA_DEVICE void finish(index_t b) const {
    constexpr index_t pieces = D / N;
    if (chunks == 1)
      arch::barrier();
    else if (!arch::arrives_last(arrived + b, static_cast<int>(chunks)))
      return;
    const index_t size = groups * norm_sums * D;
    SRA_UNROLL
    for (int kind = 0; kind < norm_sums; ++kind) {
      const G& to = grad[kind];
      if (!to) continue;
      for (index_t p = arch::thread(); p < groups * pieces; p += threads) {
        const index_t g = p / pieces, i = p % pieces * N;
        const W* const from = partial + b * chunks * size + (g * norm_sums + kind) * D + i;
        W sum[N], more[N];
        load(sum, from);
        for (index_t c = 1; c < chunks; ++c) {
          load(more, from + c * size);
          for (int j = 0; j < N; ++j) sum[j] += more[j];
        }
        put((grouped ? to.to.row(b, g) : to.to.sample(b)) + i, sum, to.mode == GradMode::accumulate);
      }
    }
  }

  /// Calls f(k, i) for this thread's pieces k, which begin at columns i.
  template <class F>
  static SRA_DEVICE void for_columns(const F& f) {
    SRA_UNROLL
    for (int k = 0; k < Team::each; ++k)
      if (const index_t i = Team::column(k); i >= 0) f(k, i);
  }

  SRA_DEVICE void begin(Columns& mine, index_t b, W* memory) const {
    mine.memory = memory;
    for_columns([&](int k, index_t i) {
      if constexpr (grouped) {
        for (index_t g = 0; g < groups * norm_sums; ++g)
          for (int j = 0; j < N; ++j) memory[g * D + i + j] = 0;
      } else {
        load_leaf(mine.factor[k], scale, b, 0, i);
        for (int j = 0; j < N; ++j) mine.factor[k][j] += one;
      }
    });
  }

  /// The team's rows from `from` on.
  SRA_DEVICE void rows(Columns& mine, Place from, index_t last, W* room, int turn) const {
    constexpr int pieces = Team::rows * Team::each;
    const auto for_pieces = [&](const auto& f) {
      SRA_UNROLL
      for (int p = 0; p < pieces; ++p) {
        const Place at{from.b, from.r + p / Team::each, Team::column(p % Team::each), p % Team::each};
        if (at.r < last && at.i >= 0) f(p, p / Team::each, at);
      }
    };
    Piece piece[pieces] = {};
    Vector<W, 2> stat[Team::rows] = {};
    W total[Team::totals] = {};
    for_pieces([&](int p, int row, Place at) {
      stat[row] = fetch<2>(stats + 2 * (at.b * S::sample_rows + at.r));
      read(piece[p], at);
    });
    for_pieces([&](int p, int row, Place at) {
      W up[N], dn[N], n[N];
      normalised(up, dn, n, piece[p], stat[row], mine, at);
      for (int j = 0; j < N; ++j) {
        total[2 * row] += dn[j];
        total[2 * row + 1] += dn[j] * n[j];
      }
      add(mine, 0, at, up);
      for (int j = 0; j < N; ++j) up[j] *= n[j];
      add(mine, 1, at, up);
    });
    Team::sum(total, room, turn);
    for (W& mean : total) mean *= W(1) / W(D);
    if (!dx) return;
    from.r = arch::computed_late(static_cast<int>(from.r));  // addresses are made again, not kept
    for_pieces([&](int p, int row, Place at) {
      W up[N], dn[N], n[N];
      normalised(up, dn, n, piece[p], stat[row], mine, at);
      const W a = total[2 * row], c = total[2 * row + 1], rstd = stat[row].x[1];
      for (int j = 0; j < N; ++j) dn[j] = rstd * (dn[j] - a - n[j] * c);
      write(mine, at, piece[p], dn);
    });
  }

  SRA_DEVICE void read(Piece& to, Place at) const {
    to.up = fetch<N>(dy.row(at.b, at.r) + at.i);
    to.in = fetch<N>(x.row(at.b, at.r) + at.i);
    if (dx.mode == GradMode::accumulate) to.before = fetch<N>(dx.to.row(at.b, at.r) + at.i);
    if (branch.y.data) to.added = fetch<N>(branch.y.row(at.b, at.r) + at.i);
  }

  SRA_DEVICE void normalised(W (&up)[N], W (&dn)[N], W (&n)[N], const Piece& piece, const Vector<W, 2>& stat,
                             const Columns& mine, Place at) const {
    widen(up, piece.up);
    widen(n, piece.in);
    if constexpr (grouped) load_leaf(dn, scale, at.b, at.r, at.i);
    for (int j = 0; j < N; ++j) {
      n[j] = (n[j] - stat.x[0]) * stat.x[1];
      dn[j] = up[j] * (grouped ? one + dn[j] : mine.factor[at.k][j]);
    }
  }

  SRA_DEVICE void add(Columns& mine, int kind, Place at, const W (&value)[N]) const {
    if constexpr (grouped)
      accumulate(mine.memory + (scale.group.row(at.b, 0)[at.r] * norm_sums + kind) * D + at.i, value);
    else
      for (int j = 0; j < N; ++j) mine.sums[kind][at.k][j] += value[j];
  }

  /// dx, and from all of it, as it was rounded, the gradients of branch and gate.
  SRA_DEVICE void write(Columns& mine, Place at, const Piece& piece, W (&d)[N]) const {
    if (dx.mode == GradMode::accumulate) {
      W before[N];
      widen(before, piece.before);
      for (int j = 0; j < N; ++j) d[j] += before[j];
    }
    store(dx.to.row(at.b, at.r) + at.i, d);
    if (!branch.y.data) return;
    W gate[N], added[N];
    widen(d, rounded<TX>(d));
    widen(added, piece.added);
    load_leaf(gate, branch.gate, at.b, at.r, at.i);
    for (int j = 0; j < N; ++j) gate[j] *= d[j];
    for (int j = 0; j < N; ++j) added[j] *= d[j];
    add(mine, 2, at, added);
    if (dbranch) put(dbranch.to.row(at.b, at.r) + at.i, gate, dbranch.mode == GradMode::accumulate);
  }
};

/// Adds up the partial sums of all blocks of NormBackward in order, in double, where samples share them.
template <class W, class G>
struct NormFold {
  static constexpr index_t D = decltype(G::to)::shape_type::width;

  const W* partial;
  G grad[norm_sums];
  index_t blocks;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t i = at % D, kind = at / D;
    const G& to = grad[kind];
    if (!to) return;
    auto& result = to.to.data[i];
    double sum = to.mode == GradMode::accumulate ? number_cast<double>(result) : 0;
    for (index_t n = 0; n < blocks; ++n) sum += static_cast<double>(partial[n * norm_sums * D + at]);
    result = number_cast<std::remove_cvref_t<decltype(result)>>(sum);
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
  constexpr index_t wanted = 528, least = 16;  // blocks: four on each of 132 multiprocessors; rows of one
  static_assert(wanted / 2 <= Cuda::counter_count, "a sample of several blocks has a counter");
  const index_t samples = x.shape.samples(),
                chunks = std::clamp<index_t>(wanted / std::max<index_t>(1, samples), 1,
                                             (S::sample_rows + least - 1) / least),
                rows_each = (S::sample_rows + chunks - 1) / chunks, blocks = samples * chunks;
  const Arena::Mark before = context.workspace().activations.mark();
  W* partial = context.template take<W>(std::max<index_t>(1, blocks) * sums);
  const double bytes = sizeof(T) + 2.0 * sizeof(TX) + (dx.mode == GradMode::accumulate ? sizeof(TX) : 0) +
                       (branch ? 2.0 * sizeof(T) : 0.0),
               of_sums = double(blocks * sums) * sizeof(W);
  launch(context, "norm_backward", {bytes * double(x.shape.size()) + (shared ? 0.0 : of_sums), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          using Team = detail::RowTeam<N, D>;
          constexpr int teams = detail::norm_teams(Team::threads, sums);
          constexpr index_t room = teams * (Team::room + (detail::norm_sums_shared(sums) ? sums : 0));
          using Kernel = detail::NormBackward<N, teams, T, TX, S, W, Scale, DX, DScale>;
          const Kernel kernel{
              dy,      stats,           x,      scale,  one,      dx, branch, dbranch, {dshift, dscale, dgate},
              partial, cuda.counters(), groups, chunks, rows_each};
          arch::launch_kernel(cuda.stream(), blocks, static_cast<std::size_t>(room) * sizeof(W), kernel);
        },
        dy, x, scale, dx, branch, dbranch, dshift, dscale, dgate);
  });
  if constexpr (shared)
    launch(context, "norm_sums", {of_sums, 0}, [&](Cuda& cuda) {
      for_each(cuda, sums, detail::NormFold<W, DScale>{partial, {dshift, dscale, dgate}, blocks});
    });
  context.workspace().activations.pop(before);
}

}  // namespace sra::gpu
