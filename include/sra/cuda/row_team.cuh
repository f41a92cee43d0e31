// Several warps that go through rows together and have sums over a row.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cuda/kernel.cuh>

namespace sra::gpu::detail {

/// Threads that go through rows together.  Each owns pieces of N columns, so that sums over rows stay in its registers.
template <int N, index_t Width>
struct RowTeam {
  static constexpr index_t pieces = Width / N;
  static constexpr int each = static_cast<int>((pieces + 511) / 512);
  static constexpr int threads =
      static_cast<int>(round_up<index_t>((pieces + each - 1) / each, index_t{arch::warp_size}));
  static constexpr int warps = threads / arch::warp_size;
  static constexpr int rows = each == 1 ? 2 : 1;  ///< at a time
  static constexpr int totals = 2 * rows;         ///< sums over a row: two of each
  static constexpr int room = 2 * totals * warps;

  /// The first column of piece k of this thread, or -1.
  static SRA_DEVICE index_t column(int k) {
    const index_t piece = arch::thread() % threads + index_t{k} * threads;
    return piece < pieces ? piece * N : -1;
  }
  /// x becomes its sums over the team: warps, then the team's warps in order.  All teams of the block call it together.
  /// @param shared memory for `room` numbers  @param turn the number of this call
  template <class W>
  static SRA_DEVICE void sum(W (&x)[totals], W* shared, int turn) {
    constexpr int lanes = arch::warp_size / totals;  // that have one total
    const int which = arch::thread() % arch::warp_size / lanes, lane = arch::thread() % lanes;
    W total = warp_sums(x);
    if constexpr (warps > 1) {
      W* const of_warps = shared + (turn % 2 * totals + which) * warps;  // the last turn's may still be read
      if (lane == 0) of_warps[arch::thread() % threads / arch::warp_size] = total;
      arch::barrier();
      total = 0;
      for (int w = lane; w < warps; w += lanes) total += of_warps[w];
      total = warp_sum<lanes>(total);
    }
    SRA_UNROLL
    for (int k = 0; k < totals; ++k) x[k] = arch::from_lane(total, k * lanes);
  }
};

}  // namespace sra::gpu::detail
