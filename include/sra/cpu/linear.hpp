// Linear layers on the CPU: one matrix product forward, two backward, bias gradients in a fixed order.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cpu/gemm.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/expr/bytes.hpp>
#include <sra/expr/maths.hpp>

#include <algorithm>
#include <string>

namespace sra::backend {

namespace detail {

using sra::detail::grad_bytes;
using sra::detail::product_cost;
using sra::detail::view_bytes;

[[noreturn, gnu::cold]] inline void refuse_rows(const char* who, const std::string& shape) {
  throw Error(text(who, ": expected rows at one constant distance, got a ", shape, " view of a larger tensor"));
}

}  // namespace detail

/// A view as a matrix of its rows.  @throws Error if the rows do not lie at one constant distance
template <class T, class S>
Matrix<T> as_matrix(const char* who, View<T, S> v) {
  if (!v.uniform()) detail::refuse_rows(who, to_string(v.shape));
  return {v.data, v.shape.rows(), S::width, v.row_stride(), 1};
}

namespace detail {

/// Rows per partial sum of a bias gradient.
inline constexpr index_t bias_chunk = 512;

/// to[i] = sum over the rows of dy, or added to it.  @param partial a row for every chunk
template <class T, class W>
void sum_columns(Cpu& cpu, Rows<const T> dy, W* partial, W* to, bool add) {
  const index_t chunks = (dy.rows + bias_chunk - 1) / bias_chunk, blocks = (dy.width + lanes - 1) / lanes;
  for_tasks(cpu, chunks * blocks, [=](index_t begin, index_t end, int) {
    for (index_t task = begin; task < end; ++task) {
      const index_t chunk = task / blocks, i = task % blocks * lanes;
      W sum[lanes] = {};
      for (index_t r = chunk * bias_chunk; r < std::min(dy.rows, (chunk + 1) * bias_chunk); ++r) {
        W block[lanes];
        load_block(block, dy.row(r) + i, dy.width - i);
        for (index_t j = 0; j < lanes; ++j) sum[j] += block[j];
      }
      store_block(partial + chunk * dy.width + i, sum, dy.width - i);
    }
  });
  fold_rows(partial, chunks, dy.width, to, add);
}

}  // namespace detail

/// y = x Wᵀ + b.  Bias: View<wide, [Out]> or any other type for none.
template <ContextOn<Cpu> C, class TY, class Y, class TX, class X, class TW, class W, class Bias>
void linear_forward(C& context, View<TY, Y> y, View<TX, X> x, View<const TW, W> w, Bias bias) {
  const double bytes = detail::view_bytes(x) + detail::view_bytes(w) + detail::view_bytes(y);
  launch(context, "linear_forward", detail::product_cost(x.shape.rows(), X::width, Y::width, bytes), [&](Cpu& cpu) {
    const Matrix<const TW> wt{w.data, W::extent(1), W::extent(0), 1, w.pitch};
    Epilogue<TY> epilogue;
    if constexpr (requires { bias.data; }) epilogue.bias = bias.data;
    gemm(cpu, as_matrix("linear", y), as_matrix("linear", View<const TX, X>(x)), wt, GradMode::overwrite, epilogue);
  });
}

/// y_i = x W_iᵀ + b_i for layers at a constant distance.
template <ContextOn<Cpu> C, class TY, class Y, class TX, class X, class TW, class W, class B>
void linear_bank_forward(C& context, View<TY, Y> y, View<TX, X> x, View<const TW, W> w, View<wide_t<TY>, B> bias,
                         index_t stride, index_t count) {
  for (index_t i = 0; i < count; ++i) {
    w.data += i ? stride : 0;
    bias.data += i ? stride : 0;
    linear_forward(context, samples_of(y, i * x.shape.batch, x.shape.batch), x, w, bias);
  }
}

/// u = x Wᵀ + b, y = gelu(u).
template <ContextOn<Cpu> C, class TY, class Y, class TX, class X, class TW, class W, class Bias>
void linear_gelu_forward(C& context, View<TY, Y> y, View<TY, Y> u, View<TX, X> x, View<const TW, W> w, Bias bias) {
  const double kept = u.data == y.data ? 0 : detail::view_bytes(u);
  const double bytes = detail::view_bytes(x) + detail::view_bytes(w) + detail::view_bytes(y) + kept;
  launch(context, "linear_gelu_forward", detail::product_cost(x.shape.rows(), X::width, Y::width, bytes),
         [&](Cpu& cpu) {
           const Matrix<const TW> wt{w.data, W::extent(1), W::extent(0), 1, w.pitch};
           const Epilogue<TY> epilogue{.bias = bias.data, .gelu = y.data, .gelu_row_stride = y.row_stride()};
           gemm(cpu, as_matrix("linear_gelu", u), as_matrix("linear_gelu", View<const TX, X>(x)), wt,
                GradMode::overwrite, epilogue);
         });
}

/// du = dy gelu′(u).  Reads 2, writes 1.
template <ContextOn<Cpu> C, class T, class S>
void gelu_backward(C& context, View<T, S> du, View<const T, S> dy, View<T, S> u) {
  launch(context, "gelu_backward", {3.0 * double(u.shape.size()) * sizeof(T), 0}, [&](Cpu& cpu) {
    for_rows(cpu, u.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r)
        for (index_t i = 0; i < S::width; i += lanes) {
          wide_t<T> a[lanes], b[lanes];
          load_block(a, u.row(r) + i, columns_left<S::width>(i));
          load_block(b, dy.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) b[j] *= maths::gelu_slope(a[j]);
          store_block(du.row(r) + i, b, columns_left<S::width>(i));
        }
    });
  });
}

/// du = (dy W) gelu′(u), the gradient of what gelu took before a layer with weight W, and db = sum of the rows of du.
/// @return what of db is left to whoever reads du next: nothing
template <ContextOn<Cpu> C, class TU, class U, class TY, class Y, class TW, class W, class DB>
sra::detail::NoGrad linear_gelu_backward(C& context, View<TU, U> du, View<const TY, Y> dy, View<TU, U> u,
                                         View<const TW, W> w, DB db) {
  const double bytes = detail::view_bytes(dy) + detail::view_bytes(w) + 2 * detail::view_bytes(u);
  launch(context, "linear_gelu_backward", detail::product_cost(dy.shape.rows(), Y::width, U::width, bytes),
         [&](Cpu& cpu) {
           Epilogue<TU> epilogue{.slope_at = u.data, .slope_row_stride = u.row_stride()};
           if (db) epilogue.column_sums = db.to.data, epilogue.add_column_sums = db.mode == GradMode::accumulate;
           const Matrix<const TW> weight{w.data, W::extent(0), W::extent(1), w.pitch, 1};
           gemm(cpu, as_matrix("linear", du), as_matrix("linear", dy), weight, GradMode::overwrite, epilogue);
         });
  return {};
}

/// y = gelu(u).  Reads 1, writes 1.
template <ContextOn<Cpu> C, class T, class S>
void gelu_forward(C& context, View<T, S> y, View<T, S> u) {
  launch(context, "gelu_forward", {2.0 * double(u.shape.size()) * sizeof(T), 0}, [&](Cpu& cpu) {
    for_rows(cpu, u.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r)
        for (index_t i = 0; i < S::width; i += lanes) {
          wide_t<T> a[lanes];
          load_block(a, u.row(r) + i, columns_left<S::width>(i));
          for (index_t j = 0; j < lanes; ++j) a[j] = maths::gelu(a[j]);
          store_block(y.row(r) + i, a, columns_left<S::width>(i));
        }
    });
  });
}

/// db = sum of the rows of dy: chunks of 512 rows in wide, then the chunks in order.
template <ContextOn<Cpu> C, class T, class Y, class B>
void bias_backward(C& context, View<const T, Y> dy, Grad<wide_t<T>, B> db) {
  using W = wide_t<T>;
  if (!db) return;
  const index_t rows = dy.shape.rows(), chunks = (rows + detail::bias_chunk - 1) / detail::bias_chunk;
  W* partial = context.template take<W>(std::max<index_t>(1, chunks) * Y::width);
  launch(context, "bias_backward", {double(dy.shape.size()) * sizeof(T), 0},
         [&](Cpu& cpu) { detail::sum_columns(cpu, Rows(dy), partial, db.to.data, db.mode == GradMode::accumulate); });
}

/// dx = dy W, dW = dyᵀ x, db = column sums of dy, each as its mode says.
template <ContextOn<Cpu> C, class TY, class Y, class TX, class X, class TW, class W, class DX, class DW, class DB>
void linear_backward(C& context, View<const TY, Y> dy, View<TX, X> x, View<const TW, W> w, DX dx, DW dw, DB db) {
  const auto cost = [&](double bytes) {
    return detail::product_cost(x.shape.rows(), X::width, Y::width, detail::view_bytes(dy) + bytes);
  };
  if (dx)
    launch(context, "linear_backward_input", cost(detail::view_bytes(w) + detail::grad_bytes(dx)), [&](Cpu& cpu) {
      const Matrix<const TW> weight{w.data, W::extent(0), W::extent(1), w.pitch, 1};
      gemm(cpu, as_matrix("linear", dx.to), as_matrix("linear", dy), weight, dx.mode);
    });
  if (dw)
    launch(context, "linear_backward_weight", cost(detail::view_bytes(x) + detail::grad_bytes(dw)), [&](Cpu& cpu) {
      const Matrix<wide_t<TW>> to{dw.to.data, W::extent(0), W::extent(1), dw.to.pitch, 1};
      gemm(cpu, to, as_matrix("linear", dy).transposed(), as_matrix("linear", View<const TX, X>(x)), dw.mode);
    });
  if constexpr (requires { db.mode; }) bias_backward(context, dy, db);
}

/// dx = Σ dy_i W_i, dW_i = dy_iᵀ x, db_i = column sums of dy_i, for layers at a constant distance, one after the other.
/// @param dw, db of the first layer; the others are of the same modes
template <ContextOn<Cpu> C, class TY, class Y, class TX, class X, class TW, class W, class DX, class DW, class DB>
void linear_bank_backward(C& context, View<const TY, Y> dy, View<TX, X> x, View<const TW, W> w, DX dx, DW dw, DB db,
                          index_t stride, index_t count) {
  for (index_t i = 0; i < count; ++i) {
    const index_t step = i ? stride : 0;
    w.data += step;
    if (dw) dw.to.data += step;
    if (db) db.to.data += step;
    if (dx && i) dx.mode = GradMode::accumulate;
    linear_backward(context, samples_of(dy, i * x.shape.batch, x.shape.batch), x, w, dx, dw, db);
  }
}

}  // namespace sra::backend
