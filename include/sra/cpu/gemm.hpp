// The matrix product of the CPU: C = A B or C += A B in float and double, for operands of any strides.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/view.hpp>
#include <sra/cpu/isa/dispatch.hpp>
#include <sra/cpu/isa/pack.hpp>
#include <sra/cpu/isa/tile.hpp>
#include <sra/expr/maths.hpp>

#include <algorithm>
#include <cstddef>
#include <type_traits>

namespace sra::backend {

/// A matrix in memory that somebody else owns; element (i, j) lies at data + i * row_stride + j * column_stride.
/// Where T is const it converts from the matrix of T without const.
template <class T>
struct Matrix {
  T* data = nullptr;
  index_t rows = 0, columns = 0;
  index_t row_stride = 0, column_stride = 1;

  T* at(index_t i, index_t j) const { return data + i * row_stride + j * column_stride; }
  /// The same elements with rows and columns exchanged.
  Matrix transposed() const { return {data, columns, rows, column_stride, row_stride}; }
  operator Matrix<const T>() const requires(!std::is_const_v<T>) {
    return {data, rows, columns, row_stride, column_stride};
  }
};

/// What happens to an element of C once its sum is complete: c += bias[column]; if gelu is set, gelu(c) goes there,
/// while c itself keeps the value before the activation.
template <class T>
struct Epilogue {
  const T* bias = nullptr;
  T* gelu = nullptr;
  index_t gelu_row_stride = 0;
};

namespace detail {

/// One product C = A B cut into fixed pieces: `depth` of K at a time, C in blocks of `block_rows` x `block_columns`.
/// The pieces depend on the sizes and the instruction set alone, and one block of C is summed by one worker.
template <class T>
struct Product {
  static constexpr index_t depth = 384;

  Matrix<T> c;
  Matrix<const T> a, b;
  bool accumulate;
  Epilogue<T> epilogue;
  Isa isa;
  TileKernels<T> kernels;
  index_t panels, block_rows, block_panels, row_blocks, column_blocks;
  bool pack_rows;

  Product(Isa which, Matrix<T> to, Matrix<const T> left, Matrix<const T> right, bool add, Epilogue<T> after)
      : c(to), a(left), b(right), accumulate(add), epilogue(after), isa(which), kernels(tile_kernels<T>(which)) {
    const index_t tall = kernels.tiles[0].rows;
    panels = (c.columns + kernels.columns - 1) / kernels.columns;
    column_blocks = std::max<index_t>(1, (c.columns + 255) / 256);
    block_panels = (panels + column_blocks - 1) / column_blocks;
    const index_t row_panels = std::max<index_t>(1, (c.rows + tall - 1) / tall);
    row_blocks = (row_panels * tall + 111) / 112;
    block_rows = (row_panels + row_blocks - 1) / row_blocks * tall;
    row_blocks = (c.rows + block_rows - 1) / block_rows;
    // Rows of A that lie apart are read in place, unless they would share few sets of the first-level cache.
    pack_rows = a.column_stride != 1 || a.row_stride * static_cast<index_t>(sizeof(T)) % 4096 == 0;
  }

  index_t blocks() const { return row_blocks * column_blocks; }
  index_t steps() const { return std::max<index_t>(1, (a.columns + depth - 1) / depth); }
  index_t step_depth(index_t first) const { return std::min(depth, a.columns - first); }
  std::size_t packed_b() const {
    return sizeof(T) * static_cast<std::size_t>(panels * kernels.columns * std::min(depth, a.columns));
  }
  std::size_t packed_a() const {
    return sizeof(T) * static_cast<std::size_t>(kernels.tiles[0].rows * std::min(depth, a.columns));
  }
  /// Of a worker: one panel of A, one tile of C.
  std::size_t worker_bytes() const {
    return round_up(packed_a(), alignment_bytes) +
           sizeof(T) * static_cast<std::size_t>(kernels.tiles[0].rows * kernels.columns);
  }

  /// Packs one panel of columns of B, rows [first, first + depth).
  void pack_b(T* packed, index_t first, index_t panel) const {
    const index_t k = step_depth(first), width = kernels.columns, column = panel * width;
    pack_panel(packed + panel * width * k, width, std::min(width, c.columns - column), k, b.at(first, column),
               b.row_stride, b.column_stride);
  }

  /// Adds the products of rows [first, first + depth) of B to one block of C.
  void block(const T* packed, index_t first, index_t which, std::byte* workspace) const {
    const index_t row_end = std::min(c.rows, (which / column_blocks + 1) * block_rows);
    index_t row = which / column_blocks * block_rows;
    for (index_t count = 0; row < row_end; row += count) {
      std::size_t t = 0;
      while (kernels.tiles[t].rows > row_end - row) ++t;
      count = kernels.tiles[t].rows;
      tile_row(kernels.tiles[t], packed, first, row, which % column_blocks, workspace);
    }
    if (first + depth >= a.columns && (epilogue.bias || epilogue.gelu)) finish(which);
  }

  /// One panel of rows of C against all panels of columns of a block.
  void tile_row(const typename TileKernels<T>::Tile& tile, const T* packed, index_t first, index_t row,
                index_t column_block, std::byte* workspace) const {
    const index_t k = step_depth(first), width = kernels.columns;
    const bool add = accumulate || first > 0;
    const T* left = a.at(row, first);
    index_t left_row = a.row_stride, left_step = a.column_stride;
    if (pack_rows) {
      T* panel = reinterpret_cast<T*>(workspace);
      pack_panel(panel, tile.rows, tile.rows, k, left, a.column_stride, a.row_stride);
      left = panel, left_row = 1, left_step = tile.rows;
    }
    const index_t last = std::min(panels, (column_block + 1) * block_panels);
    for (index_t p = column_block * block_panels; p < last; ++p) {
      const T* right = packed + p * width * k;
      T* to = c.at(row, p * width);
      if ((p + 1) * width <= c.columns) {
        tile.function(k, left, left_row, left_step, right, to, c.row_stride, add);
        continue;
      }
      T* edge = reinterpret_cast<T*>(workspace + round_up(packed_a(), alignment_bytes));
      tile.function(k, left, left_row, left_step, right, edge, width, false);
      for (index_t r = 0; r < tile.rows; ++r)
        for (index_t j = 0; j < c.columns - p * width; ++j)
          to[r * c.row_stride + j] = add ? to[r * c.row_stride + j] + edge[r * width + j] : edge[r * width + j];
    }
  }

  /// Bias and activation of one block of C, whose sums are complete.
  void finish(index_t which) const {
    const index_t row = which / column_blocks * block_rows, row_end = std::min(c.rows, row + block_rows);
    const index_t column = which % column_blocks * block_panels * kernels.columns;
    const index_t column_end = std::min(c.columns, column + block_panels * kernels.columns);
    run_as(isa, row, row_end, 0, [=, to = c, e = epilogue](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r)
        for (index_t j = column; j < column_end; j += lanes) {
          const index_t count = std::min(lanes, column_end - j);
          T sum[lanes], bias[lanes];
          load_block(sum, to.data + r * to.row_stride + j, count);
          if (e.bias) {
            load_block(bias, e.bias + j, count);
            for (index_t i = 0; i < lanes; ++i) sum[i] += bias[i];
            store_block(to.data + r * to.row_stride + j, sum, count);
          }
          if (e.gelu) {
            for (index_t i = 0; i < lanes; ++i) sum[i] = maths::gelu(sum[i]);
            store_block(e.gelu + r * e.gelu_row_stride + j, sum, count);
          }
        }
    });
  }
};

}  // namespace detail

/// C = A B (mode overwrite; what C held is never read) or C += A B (accumulate), then the epilogue; ignore does
/// nothing. Sums run over K in pieces of 384, in T, each piece in order; they depend on sizes and instruction set, not
/// on threads.
/// @param c [M, N], unit column stride  @param a [M, K]  @param b [K, N], each with unit stride along rows or columns
/// (any other strides are right, but slow)  @param epilogue bias [N], gelu [M, N].  K = 0 counts as a product of zeros.
/// Uses shared scratch of 384 N elements.  Not for use inside a loop of the same Threads: see gemm_serial.
template <class T>
void gemm(Cpu& cpu, Matrix<T> c, std::type_identity_t<Matrix<const T>> a, std::type_identity_t<Matrix<const T>> b,
          GradMode mode, std::type_identity_t<Epilogue<T>> epilogue = {}) {
  if (mode == GradMode::ignore || c.rows == 0 || c.columns == 0) return;
  const detail::Product<T> product(cpu.isa(), c, a, b, mode == GradMode::accumulate, epilogue);
  T* packed = reinterpret_cast<T*>(cpu.shared_scratch(product.packed_b()));
  for (index_t step = 0; step < product.steps(); ++step) {
    const index_t first = step * product.depth;
    cpu.threads().for_each(product.panels, [&](index_t panel, int) { product.pack_b(packed, first, panel); });
    cpu.threads().for_each(product.blocks(), [&](index_t which, int worker) {
      product.block(packed, first, which, cpu.scratch(worker, product.worker_bytes()));
    });
  }
}

/// Bytes of workspace that gemm_serial needs for c [m, n] = a [m, k] b [k, n].
template <class T>
std::size_t gemm_serial_bytes(Isa isa, index_t m, index_t n, index_t k) {
  const detail::Product<T> product(isa, {nullptr, m, n, n, 1}, {nullptr, m, k, k, 1}, {nullptr, k, n, n, 1}, false, {});
  return round_up(product.packed_b(), alignment_bytes) + product.worker_bytes();
}

/// As gemm, on this thread alone, with a workspace of gemm_serial_bytes that starts on a multiple of alignment_bytes:
/// for use inside a task.  Same sums as gemm.
template <class T>
void gemm_serial(Isa isa, std::byte* workspace, Matrix<T> c, std::type_identity_t<Matrix<const T>> a,
                 std::type_identity_t<Matrix<const T>> b, GradMode mode,
                 std::type_identity_t<Epilogue<T>> epilogue = {}) {
  if (mode == GradMode::ignore || c.rows == 0 || c.columns == 0) return;
  const detail::Product<T> product(isa, c, a, b, mode == GradMode::accumulate, epilogue);
  T* packed = reinterpret_cast<T*>(workspace);
  std::byte* rest = workspace + round_up(product.packed_b(), alignment_bytes);
  for (index_t step = 0; step < product.steps(); ++step) {
    const index_t first = step * product.depth;
    for (index_t panel = 0; panel < product.panels; ++panel) product.pack_b(packed, first, panel);
    for (index_t which = 0; which < product.blocks(); ++which) product.block(packed, first, which, rest);
  }
}

}  // namespace sra::backend
