// Rows that a warp reads once, in vectors that are all in flight together, and keeps in its registers.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/kernel.cuh>

#include <algorithm>

namespace sra::gpu::detail {

/// A row in the registers of a warp, as it is in memory: lane l holds pieces l, l + 32, … of N numbers, up to six (1,536 numbers
/// for N = 8).  Of longer rows nothing is kept, every look reads memory.
template <int N, index_t Width, class T>
struct WarpRow {
  static constexpr index_t pieces = Width / N;
  static constexpr int each = static_cast<int>((pieces + arch::warp_size - 1) / arch::warp_size);
  static constexpr bool kept = each <= 6;

  const T* row;
  Vector<T, N> piece[kept ? each : 1];

  /// Calls f(k, i) for this lane's pieces k, which begin at columns i.
  template <class F>
  static SRA_DEVICE void for_pieces(const F& f) {
    const auto call = [&](int k) {
      const index_t at = arch::thread() % arch::warp_size + index_t{k} * arch::warp_size;
      if (at < pieces) f(k, at * N);
    };
    if constexpr (kept) {
      SRA_UNROLL
      for (int k = 0; k < each; ++k) call(k);
    } else {
      for (int k = 0; k < each; ++k) call(k);
    }
  }

  /// Has all of the row fetched; who looks at it first waits.
  SRA_DEVICE explicit WarpRow(const T* from) : row(from) {
    if constexpr (kept) for_pieces([&](int k, index_t i) { piece[k] = fetch<N>(row + i); });
  }
  template <class W>
  SRA_DEVICE void get(W (&to)[N], int k, index_t i) const {
    if constexpr (kept)
      widen(to, piece[k]);
    else
      load(to, row + i);
  }
  /// Piece k becomes `from`, rounded, here and in the row `to`.
  template <class W>
  SRA_DEVICE void set(const W (&from)[N], T* to, int k, index_t i) {
    const Vector<T, N> v = rounded<T>(from);
    if constexpr (kept) piece[k] = v;
    store(to + i, v);
  }
};

/// Runs rule.row(row, lane) for every row, a warp each.
template <class Rule>
struct WarpRows {
  static constexpr int threads = 256;
  Rule rule;
  index_t rows;

  SRA_DEVICE void operator()() const {
    constexpr int warps = threads / arch::warp_size;
    for (index_t row = arch::block() * warps + arch::thread() / arch::warp_size; row < rows;
         row += arch::blocks() * warps)
      rule.row(row, arch::thread() % arch::warp_size);
  }
};
template <class Rule>
void for_rows(Cuda& cuda, index_t rows, const Rule& rule) {
  constexpr int warps = WarpRows<Rule>::threads / arch::warp_size;
  arch::launch_kernel(cuda.stream(), std::min<index_t>(16 * cuda.multiprocessors(), (rows + warps - 1) / warps), 0,
                      WarpRows<Rule>{rule, rows});
}

}  // namespace sra::gpu::detail
