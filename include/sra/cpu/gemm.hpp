// The matrix product of the CPU: C = A B or C += A B in float, double and bf16, for operands of any strides.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/dtype.hpp>
#include <sra/core/view.hpp>
#include <sra/cpu/isa/amx.hpp>
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
  template <class U>
    requires(std::is_same_v<U, const T> && !std::is_const_v<T>)
  operator Matrix<U>() const { return {data, rows, columns, row_stride, column_stride}; }
};

/// What happens to an element of C once its sum is complete: c += bias[column]; if gelu is set, gelu(c) goes there,
/// while c itself keeps the value before the activation; c *= gelu'(slope_at); and the sums of the columns of c.
template <class T>
struct Epilogue {
  const wide_t<T>* bias = nullptr;
  T* gelu = nullptr;
  index_t gelu_row_stride = 0;
  const T* slope_at = nullptr;  ///< [M, N]
  index_t slope_row_stride = 0;
  wide_t<T>* column_sums = nullptr;  ///< [N]: over blocks of rows, then in order in double; not in gemm_serial
  bool add_column_sums = false;      ///< to what is there

  explicit operator bool() const { return bias || gelu || slope_at || column_sums; }
};

namespace detail {

/// to[i] = the sum over `count` rows of partial sums, in order, or to[i] plus it.
template <class W>
void fold_rows(const W* partial, index_t count, index_t width, W* to, bool add) {
  for (index_t i = 0; i < width; ++i) {
    double sum = add ? static_cast<double>(to[i]) : 0;
    for (index_t k = 0; k < count; ++k) sum += static_cast<double>(partial[k * width + i]);
    to[i] = static_cast<W>(sum);
  }
}

/// An operand of a product without its type.  @tparam W type of the sums
template <class W>
struct Source {
  const std::byte* data = nullptr;
  index_t rows = 0, columns = 0, row_stride = 0, column_stride = 1;  ///< in elements
  index_t element = sizeof(W);                                       ///< bytes
  void (*pack)(W* panel, index_t width, index_t used, index_t count, const void* source, index_t step,
               index_t stride) = nullptr;

  const std::byte* at(index_t i, index_t j) const { return data + (i * row_stride + j * column_stride) * element; }
};

template <class W, class T>
void pack_numbers(W* panel, index_t width, index_t used, index_t count, const void* source, index_t step,
                  index_t stride) {
  pack_panel(panel, width, used, count, static_cast<const T*>(source), step, stride);
}

#if defined(__x86_64__) || defined(__i386__)
template <class T>
void pack_as_pairs(float* panel, index_t width, index_t used, index_t count, const void* source, index_t step,
                   index_t stride) {
  pack_pairs(panel, width, used, count, static_cast<const T*>(source), step, stride);
}

template <class T>
void pack_as_pair_rows(float* panel, index_t pitch, index_t used, index_t count, const void* source, index_t step,
                       index_t stride) {
  pack_pair_rows(panel, pitch, used, count, static_cast<const T*>(source), step, stride);
}
#endif

/// The operands of a product and the kernels that multiply them: numbers of the type of the sums or, where an operand is
/// bf16 and the processor multiplies it, pairs of bf16 in the place of one float.
template <class W>
struct Factors {
  Source<W> a, b;
  TileKernels<W> kernels;
  index_t unit = 1;   ///< numbers along K in the place of one number
  index_t grain = 1;  ///< numbers along K that are multiplied together; what a product lacks is packed as zeros
  bool a_in_place = true, a_by_rows = false;  ///< where it is packed, a row's units lie together, not a column's

  template <class A, class B>
  Factors(Isa isa, Matrix<A> left, Matrix<B> right) : a(source(left)), b(source(right)) {
    using TA = std::remove_const_t<A>;
    using TB = std::remove_const_t<B>;
    a_in_place = a.column_stride == 1;
    if constexpr (std::is_same_v<TA, bf16> || std::is_same_v<TB, bf16>) {
#if defined(__x86_64__) || defined(__i386__)
      if (isa >= Isa::avx512bf16) {
        unit = grain = 2;
        kernels = pair_kernels();
        a.pack = pack_as_pairs<TA>;
        b.pack = pack_as_pairs<TB>;
#if defined(__x86_64__)
        if (isa == Isa::amx) {
          grain = 32, a_by_rows = true;
          kernels = amx_kernels();
          a.pack = pack_as_pair_rows<TA>;
        }
#endif
        a_in_place = a_in_place && std::is_same_v<TA, bf16> && a.row_stride % 2 == 0;
        check_cache();
        return;
      }
#endif
    }
    kernels = tile_kernels<W>(isa);
    a_in_place = a_in_place && std::is_same_v<TA, W>;
    a.pack = pack_numbers<W, TA>;
    b.pack = pack_numbers<W, TB>;
    check_cache();
  }

  /// Rows in a packed panel of A of which a tile reads some: whole vectors of pairs, as long as there are rows for them.
  index_t panel_rows(index_t tile_rows, index_t row) const {
    return unit == 2 && !a_by_rows && a.rows - row >= 16 ? round_up<index_t>(tile_rows, 16) : tile_rows;
  }
  /// Numbers or pairs in k numbers along K and the zeros that complete them.
  index_t units(index_t k) const { return round_up(k, grain) / unit; }

 private:
  template <class T>
  static Source<W> source(Matrix<T> m) {
    return {reinterpret_cast<const std::byte*>(m.data), m.rows, m.columns, m.row_stride, m.column_stride, sizeof(T)};
  }
  /// Rows of A that lie apart are read in place, unless 14 or more of a tile would share a set of the first-level cache.
  void check_cache() {
    a_in_place = a_in_place && a.row_stride * a.element % (kernels.tiles[0].rows > 16 ? 2048 : 4096) != 0;
  }
};

/// One product C = A B cut into fixed pieces: `depth` of K at a time, C in blocks of `block_rows` x `block_columns`.
/// The pieces depend on the sizes and the instruction set alone, and one block of C is summed by one worker.
/// @tparam T type of C; where it is narrower than its sums, a worker keeps those of a block until they are complete
template <class T>
struct Product {
  using W = wide_t<T>;
  static constexpr index_t depth = 384, most_block_rows = 112;
  static constexpr bool direct = std::is_same_v<T, W>;  ///< C holds its own sums

  Matrix<T> c;
  Factors<W> factors;
  bool accumulate;
  Epilogue<T> epilogue;
  Isa isa;
  index_t panels, block_rows, block_panels, row_blocks, column_blocks;

  template <class A, class B>
  Product(Isa which, Matrix<T> to, Matrix<A> left, Matrix<B> right, bool add, Epilogue<T> after)
      : c(to), factors(which, left, right), accumulate(add), epilogue(after), isa(which) {
    const index_t tall = tallest(), width = factors.kernels.columns;
    panels = (c.columns + width - 1) / width;
    const index_t widest = 256 * factors.unit;  // a block of B takes the same bytes
    column_blocks = std::max<index_t>(1, (c.columns + widest - 1) / widest);
    block_panels = (panels + column_blocks - 1) / column_blocks;
    const index_t row_panels = std::max<index_t>(1, (c.rows + tall - 1) / tall);
    row_blocks = (row_panels * tall + most_block_rows - 1) / most_block_rows;
    block_rows = (row_panels + row_blocks - 1) / row_blocks * tall;
    row_blocks = (c.rows + block_rows - 1) / block_rows;
  }

  index_t tallest() const { return factors.kernels.tiles[0].rows; }
  index_t blocks() const { return row_blocks * column_blocks; }
  /// Blocks below each other come one after the other: their part of B stays in the second-level cache.
  index_t row_block(index_t which) const { return which % row_blocks; }
  index_t column_block(index_t which) const { return which / row_blocks; }
  index_t inner() const { return factors.a.columns; }
  index_t steps() const { return std::max<index_t>(1, (inner() + depth - 1) / depth); }
  /// Steps for which B is packed at once: sums that C itself holds are fetched again for the next.
  index_t steps_at_once() const { return direct ? 1 : steps(); }
  index_t step_depth(index_t step) const { return std::min(depth, inner() - step * depth); }
  /// Numbers in all panels of B of one step.
  index_t packed_step(index_t step) const { return panels * factors.kernels.columns * factors.units(step_depth(step)); }
  std::size_t packed_b() const {
    return sizeof(W) * static_cast<std::size_t>(panels * factors.kernels.columns *
                                                factors.units(std::min(steps_at_once() * depth, inner())));
  }
  std::size_t packed_a() const {
    return round_up(sizeof(W) * static_cast<std::size_t>(factors.panel_rows(tallest(), 0) *
                                                         factors.units(std::min(depth, inner()))),
                    alignment_bytes);
  }
  /// Of a worker: one panel of A, and one tile of C or the sums of a block.  Grows with the rows of C, so that a workspace
  /// for some rows serves fewer.
  std::size_t worker_bytes() const {
    const index_t width = factors.kernels.columns;
    const index_t most_rows = std::min(round_up(c.rows, tallest()), most_block_rows + tallest());
    return packed_a() +
           sizeof(W) * static_cast<std::size_t>(direct ? tallest() * width : most_rows * block_panels * width);
  }

  /// Packs panel `which` of all panels of the steps [first, ...).
  void pack_b(W* packed, index_t first, index_t which) const {
    const index_t step = first + which / panels, panel = which % panels;
    const index_t width = factors.kernels.columns, column = panel * width, k = step_depth(step);
    for (index_t s = first; s < step; ++s) packed += packed_step(s);
    const Source<W>& b = factors.b;
    packed += panel * width * factors.units(k);
    b.pack(packed, width, std::min(width, c.columns - column), k, b.at(step * depth, column), b.row_stride,
           b.column_stride);
    std::fill(packed + round_up(k, factors.unit) / factors.unit * width, packed + factors.units(k) * width, W{});
  }

  /// Numbers in the sums of columns, a row for every block of rows; blocks have 56 rows at least, but for the last one.
  index_t partial_sums() const { return epilogue.column_sums ? (c.rows / 56 + 1) * c.columns : 0; }

  /// Adds the products of the steps [first, first + count) to one block of C and, after the last, finishes it.
  void block(const W* packed, index_t first, index_t count, index_t which, std::byte* workspace,
             W* partial = nullptr) const {
    W* const sums = reinterpret_cast<W*>(workspace + packed_a());
    const TileKernels<W>& kernels = factors.kernels;
    const index_t row_begin = row_block(which) * block_rows, row_end = std::min(c.rows, row_begin + block_rows);
    index_t configured = 0;
    for (index_t step = first; step < first + count; packed += packed_step(step), ++step)
      for (index_t row = row_begin, tall = 0; row < row_end; row += tall) {
        const auto tile = kernels.fitting(row_end - row);
        tall = tile.rows;
        if (kernels.configure && tall != configured) kernels.configure(configured = tall);
        tile_row(tile, packed, step, row, which, workspace, sums);
      }
    if (kernels.release) kernels.release();
    if (first + count == steps() && (!direct || epilogue)) finish(which, sums, partial);
  }

  /// One panel of rows of C against all panels of columns of a block.
  void tile_row(const typename TileKernels<W>::Tile& tile, const W* packed, index_t step, index_t row, index_t which,
                std::byte* workspace, W* sums) const {
    const index_t k = step_depth(step), units = factors.units(k), width = factors.kernels.columns;
    const Source<W>& a = factors.a;
    const W* left = reinterpret_cast<const W*>(a.at(row, step * depth));
    index_t left_row = a.row_stride / factors.unit, left_step = 1;
    if (!factors.a_in_place || k % factors.grain != 0) {
      W* panel = reinterpret_cast<W*>(workspace);
      const index_t rows = factors.panel_rows(tile.rows, row), pitch = factors.a_by_rows ? units : rows;
      a.pack(panel, pitch, rows, k, left, a.column_stride, a.row_stride);
      left = panel, left_row = factors.a_by_rows ? pitch : 1, left_step = factors.a_by_rows ? 1 : pitch;
    }
    const index_t begin = column_block(which) * block_panels;
    const index_t last = std::min(panels, begin + block_panels);
    for (index_t p = begin; p < last; ++p) {
      const W* right = packed + p * width * units;
      if constexpr (direct) {
        const bool add = accumulate || step > 0;
        W* to = c.at(row, p * width);
        if ((p + 1) * width <= c.columns) {
          tile.function(units, left, left_row, left_step, right, to, c.row_stride, add);
          continue;
        }
        tile.function(units, left, left_row, left_step, right, sums, width, false);
        for (index_t r = 0; r < tile.rows; ++r)
          for (index_t j = 0; j < c.columns - p * width; ++j)
            to[r * c.row_stride + j] = add ? to[r * c.row_stride + j] + sums[r * width + j] : sums[r * width + j];
      } else {
        const index_t pitch = block_panels * width;
        tile.function(units, left, left_row, left_step, right,
                      sums + (row - row_block(which) * block_rows) * pitch + (p - begin) * width, pitch, step > 0);
      }
    }
  }

  /// The epilogue and the type of C for one block, whose sums are complete.
  void finish(index_t which, const W* sums, W* partial) const {
    const index_t row = row_block(which) * block_rows, row_end = std::min(c.rows, row + block_rows);
    const index_t pitch = block_panels * factors.kernels.columns, column = column_block(which) * pitch;
    const index_t column_end = std::min(c.columns, column + pitch);
    W* const column_sums = partial + (epilogue.column_sums ? row_block(which) * c.columns : 0);
    if (epilogue.column_sums) std::fill(column_sums + column, column_sums + column_end, W(0));
    run_as(isa, row, row_end, 0,
           [=, to = c, e = epilogue, add = accumulate && !direct](index_t begin, index_t end, int) {
             for (index_t r = begin; r < end; ++r)
               for (index_t j = column; j < column_end; j += lanes) {
                 const index_t count = std::min(lanes, column_end - j);
                 T* const out = to.data + r * to.row_stride + j;
                 W sum[lanes], other[lanes];
                 if constexpr (direct)
                   load_block(sum, out, count);
                 else
                   load_block(sum, sums + (r - row) * pitch + (j - column), count);
                 if (e.bias) {
                   load_block(other, e.bias + j, count);
                   for (index_t i = 0; i < lanes; ++i) sum[i] += other[i];
                 }
                 if (!direct && add) {
                   load_block(other, out, count);
                   for (index_t i = 0; i < lanes; ++i) sum[i] += other[i];
                 }
                 if (e.slope_at) {
                   load_block(other, e.slope_at + r * e.slope_row_stride + j, count);
                   for (index_t i = 0; i < lanes; ++i) sum[i] *= maths::gelu_slope(other[i]);
                 }
                 if constexpr (direct) {
                   if (e.bias || e.slope_at) store_block(out, sum, count);
                 } else {
                   alignas(64) T rounded[lanes];
                   for (index_t i = 0; i < lanes; ++i) rounded[i] = number_cast<T>(sum[i]);
                   store_block(out, rounded, count);
                   if (e.gelu)  // of c as it is stored, so that it can be made again from c
                     for (index_t i = 0; i < lanes; ++i) sum[i] = number_cast<W>(rounded[i]);
                 }
                 if (e.column_sums) accumulate_block(column_sums + j, sum, count);
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
/// nothing.  All are double, or each is float or bf16.  Sums run over K in pieces of 384, in the wide type, each
/// piece in order; they depend on sizes, types and instruction set, not on threads.  With avx512bf16 and amx, and an
/// operand of bf16, the other one is rounded to bf16 too, and amx sums 32 numbers of a piece at a time; everywhere else
/// bf16 is widened.
/// @param c [M, N], unit column stride  @param a [M, K]  @param b [K, N], each with unit stride along rows or columns
/// (any other strides are right, but slow)  @param epilogue bias [N], gelu and slope_at [M, N].  K = 0 counts as a
/// product of zeros.  Uses shared scratch of 384 N elements, or K N if C is bf16, and N for every 56 rows if columns are
/// summed.  Not for use inside a loop of the same Threads: see gemm_serial.
template <class T, class A, class B>
void gemm(Cpu& cpu, Matrix<T> c, Matrix<A> a, Matrix<B> b, GradMode mode,
          std::type_identity_t<Epilogue<T>> epilogue = {}) {
  using W = wide_t<T>;
  if (mode == GradMode::ignore || c.columns == 0) return;
  if (c.rows == 0) {
    if (epilogue.column_sums && !epilogue.add_column_sums) std::fill_n(epilogue.column_sums, c.columns, W(0));
    return;
  }
  const detail::Product<T> product(cpu.isa(), c, a, b, mode == GradMode::accumulate, epilogue);
  const std::size_t packed_bytes = round_up(product.packed_b(), alignment_bytes);
  std::byte* const shared =
      cpu.shared_scratch(packed_bytes + sizeof(W) * static_cast<std::size_t>(product.partial_sums()));
  W* const packed = reinterpret_cast<W*>(shared);
  W* const partial = reinterpret_cast<W*>(shared + packed_bytes);
  for (index_t first = 0; first < product.steps(); first += product.steps_at_once()) {
    const index_t count = product.steps_at_once();
    cpu.threads().for_each(count * product.panels, [&](index_t panel, int) { product.pack_b(packed, first, panel); });
    cpu.threads().for_each(product.blocks(), [&](index_t which, int worker) {
      product.block(packed, first, count, which, cpu.scratch(worker, product.worker_bytes()), partial);
    });
  }
  if (epilogue.column_sums)
    detail::fold_rows(partial, product.row_blocks, c.columns, epilogue.column_sums, epilogue.add_column_sums);
}

/// Bytes of workspace that gemm_serial needs for c [m, n] = a [m, k] b [k, n] of these types.
template <class T, class A = T, class B = T>
std::size_t gemm_serial_bytes(Isa isa, index_t m, index_t n, index_t k) {
  const detail::Product<T> product(isa, Matrix<T>{nullptr, m, n, n, 1}, Matrix<const A>{nullptr, m, k, k, 1},
                                   Matrix<const B>{nullptr, k, n, n, 1}, false, {});
  return round_up(product.packed_b(), alignment_bytes) + product.worker_bytes();
}

/// As gemm, on this thread alone, with a workspace of gemm_serial_bytes that starts on a multiple of alignment_bytes:
/// for use inside a task.  Same sums as gemm.
template <class T, class A, class B>
void gemm_serial(Isa isa, std::byte* workspace, Matrix<T> c, Matrix<A> a, Matrix<B> b, GradMode mode,
                 std::type_identity_t<Epilogue<T>> epilogue = {}) {
  using W = wide_t<T>;
  if (mode == GradMode::ignore || c.rows == 0 || c.columns == 0) return;
  const detail::Product<T> product(isa, c, a, b, mode == GradMode::accumulate, epilogue);
  W* packed = reinterpret_cast<W*>(workspace);
  std::byte* rest = workspace + round_up(product.packed_b(), alignment_bytes);
  for (index_t first = 0; first < product.steps(); first += product.steps_at_once()) {
    const index_t count = product.steps_at_once();
    for (index_t panel = 0; panel < count * product.panels; ++panel) product.pack_b(packed, first, panel);
    for (index_t which = 0; which < product.blocks(); ++which) product.block(packed, first, count, which, rest);
  }
}

}  // namespace sra::backend
