// Linear layers on the GPU: one matrix product forward, two backward, bias and GELU in the products where the library can.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/core/error.hpp>
#include <sra/cuda/memory.cuh>
#include <sra/cuda/pointwise.cuh>
#include <sra/expr/maths.hpp>

#include <type_traits>

namespace sra::gpu {

namespace detail {

using arch::Epilogue;
using arch::number_of;
using arch::ProductKey;
using arch::ProductMatrix;
using arch::ProductOperands;

/// Rows of a view as columns of a matrix.  @throws Error if the rows do not lie at one constant distance
template <class T, class S>
ProductMatrix columns_of(const char* who, const View<T, S>& v) {
  if (!v.uniform())
    throw Error(
        text(who, ": expected rows at one constant distance, got a ", to_string(v.shape), " view of a larger tensor"));
  return {number_of<T>, S::width, v.shape.rows(), v.row_stride()};
}

/// A weight [out, in] as a matrix of `out` columns.
template <class T, class W>
ProductMatrix columns_of_weight(const View<T, W>& w) {
  return {number_of<T>, W::extent(1), W::extent(0), w.pitch};
}

/// A view in the type U: itself, or a copy on the activation stack.
template <class U, class C, class T, class S>
View<const U, S> in_type(C& context, const View<T, S>& v) {
  if constexpr (std::is_same_v<std::remove_const_t<T>, U>) {
    return v;
  } else {
    const View<U, S> y = context.template tensor<U>(v.shape);
    copy(context, y, v);
    return y;
  }
}

/// A bias in the type U of what it is added to.  Parameters have a copy in the context's type; others get one.
template <class U, class C, class Bias>
const U* bias_in_type(C& context, const Bias& bias) {
  using W = std::remove_const_t<typename Bias::type>;
  if constexpr (std::is_same_v<W, U>) {
    return bias.data;
  } else {
    const auto& table = context.table();
    if constexpr (std::is_same_v<typename C::type, U>)
      if (bias.data >= table.masters && bias.data < table.masters + table.size)
        return table.values + (bias.data - table.masters);
    return in_type<U>(context, bias).data;
  }
}

/// u += bias, and y = gelu(u) if there is a y: what epilogues do where they cannot.
template <class T, class S>
struct BiasAfter {
  View<T, S> u, y;
  const T* bias;

  SRA_DEVICE void operator()(index_t at) const {
    using W = wide_t<T>;
    const index_t r = at / S::width, i = at % S::width;
    const T x = number_cast<T>(number_cast<W>(u.row(r)[i]) + number_cast<W>(bias[i]));
    u.row(r)[i] = x;
    if (y.data) y.row(r)[i] = number_cast<T>(maths::gelu(number_cast<W>(x)));
  }
};

template <int N, class T, class S>
struct GeluForward {
  View<T, S> y, u;

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t pieces = S::width / N;
    const index_t r = piece / pieces, i = piece % pieces * N;
    wide_t<T> a[N];
    load(a, u.row(r) + i);
    for (int j = 0; j < N; ++j) a[j] = maths::gelu(a[j]);
    store(y.row(r) + i, a);
  }
};

template <int N, class T, class S>
struct GeluBackward {
  View<T, S> du;
  View<const T, S> dy;
  View<T, S> u;

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t pieces = S::width / N;
    const index_t r = piece / pieces, i = piece % pieces * N;
    wide_t<T> a[N], d[N];
    load(a, u.row(r) + i);
    load(d, dy.row(r) + i);
    for (int j = 0; j < N; ++j) d[j] *= maths::gelu_slope(a[j]);
    store(du.row(r) + i, d);
  }
};

template <class T, class S>
void gelu_backward_now(Cuda& cuda, View<T, S> du, View<const T, S> dy, View<T, S> u) {
  with_vectors<8, S>([&]<int N>() { for_each(cuda, u.shape.size() / N, GeluBackward<N, T, S>{du, dy, u}); }, du, dy, u);
}

}  // namespace detail

/// y_i = x W_iᵀ + b_i for `count` layers at a distance of `stride` elements, results one after the other; count = 1: a layer.
template <ContextOn<Cuda> C, class TY, class Y, class TX, class X, class TW, class W, class Bias>
void linear_layers(C& context, const char* name, View<TY, Y> y, View<TX, X> x, View<const TW, W> w, Bias bias,
                   index_t stride, index_t count) {
  const Arena::Mark before = context.workspace().activations.mark();
  const auto input = detail::in_type<TW>(context, x);
  detail::ProductKey key{.transpose_a = true,
                         .a = detail::columns_of_weight(w),
                         .b = detail::columns_of("linear", input),
                         .c = detail::columns_of("linear", y),
                         .batch = count};
  key.c.columns = x.shape.rows();
  if (count > 1) key.a.step = stride, key.c.step = key.c.columns * key.c.stride;
  detail::ProductOperands o{.a = w.data, .b = input.data, .c = y.data};
  const Cost cost = product_cost(count * x.shape.rows(), X::width, Y::width,
                                 view_bytes(input) + double(count) * view_bytes(w) + view_bytes(y));
  if constexpr (requires { bias.data; }) {
    static_assert(std::is_same_v<TY, wide_t<TY>> || std::is_same_v<TY, typename C::type>);
    const TY* const b = detail::bias_in_type<TY>(context, bias);
    launch(context, name, cost, [&](Cuda& cuda) {
      auto fused = key;
      auto with_bias = o;
      fused.epilogue = detail::Epilogue::bias;
      fused.bias_step = count > 1 ? stride : 0;
      with_bias.bias = b;
      if (cuda.products().supports(fused, with_bias)) return cuda.products().run(fused, with_bias);
      cuda.products().run(key, o);
      for (index_t i = 0; i < count; ++i) {
        View<TY, Y> part = y;
        if constexpr (Y::batched)
          if (count > 1) part = samples_of(y, i * x.shape.batch, x.shape.batch);
        for_each(cuda, part.shape.size(), detail::BiasAfter<TY, Y>{part, {}, b + i * stride});
      }
    });
  } else {
    launch(context, name, cost, [&](Cuda& cuda) { cuda.products().run(key, o); });
  }
  context.workspace().activations.pop(before);
}

/// y = x Wᵀ + b.  Bias: View<wide, [Out]> or any other type for none.
template <ContextOn<Cuda> C, class TY, class Y, class TX, class X, class TW, class W, class Bias>
void linear_forward(C& context, View<TY, Y> y, View<TX, X> x, View<const TW, W> w, Bias bias) {
  linear_layers(context, "linear_forward", y, x, w, bias, 0, 1);
}

/// y_i = x W_iᵀ + b_i for layers at a constant distance.
template <ContextOn<Cuda> C, class TY, class Y, class TX, class X, class TW, class W, class B>
void linear_bank_forward(C& context, View<TY, Y> y, View<TX, X> x, View<const TW, W> w, View<wide_t<TY>, B> bias,
                         index_t stride, index_t count) {
  linear_layers(context, "linear_bank_forward", y, x, w, bias, stride, count);
}

/// u = x Wᵀ + b, y = gelu(u).  y and u may be the same memory: then only y is wanted.
template <ContextOn<Cuda> C, class TY, class Y, class TX, class X, class TW, class W, class Bias>
void linear_gelu_forward(C& context, View<TY, Y> y, View<TY, Y> u, View<TX, X> x, View<const TW, W> w, Bias bias) {
  const Arena::Mark before = context.workspace().activations.mark();
  const auto input = detail::in_type<TW>(context, x);
  const TY* const b = detail::bias_in_type<TY>(context, bias);
  const detail::ProductKey key{.transpose_a = true,
                               .a = detail::columns_of_weight(w),
                               .b = detail::columns_of("linear_gelu", input),
                               .c = detail::columns_of("linear_gelu", y)};
  const double kept = u.data == y.data ? 0 : view_bytes(u);
  const Cost cost =
      product_cost(x.shape.rows(), X::width, Y::width, view_bytes(input) + view_bytes(w) + view_bytes(y) + kept);
  launch(context, "linear_gelu_forward", cost, [&](Cuda& cuda) {
    auto fused = key;
    detail::ProductOperands o{.a = w.data, .b = input.data, .c = y.data, .bias = b};
    fused.epilogue = detail::Epilogue::gelu;
    if (u.data != y.data) fused.aux_stride = u.row_stride(), o.aux = u.data;
    if (cuda.products().supports(fused, o)) return cuda.products().run(fused, o);
    auto plain = key;
    plain.c = detail::columns_of("linear_gelu", u);
    o = {.a = w.data, .b = input.data, .c = u.data};
    cuda.products().run(plain, o);
    for_each(cuda, y.shape.size(), detail::BiasAfter<TY, Y>{u, y, b});
  });
  context.workspace().activations.pop(before);
}

/// y = gelu(u).  Reads 1, writes 1.
template <ContextOn<Cuda> C, class T, class S>
void gelu_forward(C& context, View<T, S> y, View<T, S> u) {
  launch(context, "gelu_forward", {2.0 * double(u.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>([&]<int N>() { for_each(cuda, u.shape.size() / N, detail::GeluForward<N, T, S>{y, u}); }, y, u);
  });
}

/// du = dy gelu′(u).  Reads 2, writes 1.
template <ContextOn<Cuda> C, class T, class S>
void gelu_backward(C& context, View<T, S> du, View<const T, S> dy, View<T, S> u) {
  launch(context, "gelu_backward", {3.0 * double(u.shape.size()) * sizeof(T), 0},
         [&](Cuda& cuda) { detail::gelu_backward_now(cuda, du, dy, u); });
}

/// db = sum of the rows of dy: by threads and blocks, then in double, all in a fixed order.
template <ContextOn<Cuda> C, class T, class Y, class B>
void bias_backward(C& context, View<const T, Y> dy, Grad<wide_t<T>, B> db) {
  const LeafView<Broadcast::row, wide_t<T>, B> bias{db.to};
  detail::pull_sum<0, Operand<0>>(context, dy.shape, LeafView<Broadcast::same, T, Y>{dy}, 1.0, pack(bias), db);
}

/// du = (dy W) gelu′(u), the gradient of what gelu took before a layer with weight W, without the sum of its rows: db is
/// made beside the gradient of the weight that du meets next.
/// @return what of db is left to whoever reads du next: all
template <ContextOn<Cuda> C, class TU, class U, class TY, class Y, class TW, class W, class DB>
DB linear_gelu_backward(C& context, View<TU, U> du, View<const TY, Y> dy, View<TU, U> u, View<const TW, W> w, DB db) {
  const Arena::Mark before = context.workspace().activations.mark();
  const auto up = detail::in_type<TW>(context, dy);
  const detail::ProductKey key{
      .a = detail::columns_of_weight(w), .b = detail::columns_of("linear", up), .c = detail::columns_of("linear", du)};
  const Cost cost =
      product_cost(dy.shape.rows(), Y::width, U::width, view_bytes(up) + view_bytes(w) + 2 * view_bytes(u));
  launch(context, "linear_gelu_backward", cost, [&](Cuda& cuda) {
    auto fused = key;
    detail::ProductOperands o{.a = w.data, .b = up.data, .c = du.data, .aux = u.data};
    fused.epilogue = detail::Epilogue::gelu_slope;
    fused.aux_stride = u.row_stride();
    if (cuda.products().supports(fused, o)) return cuda.products().run(fused, o);
    o.aux = nullptr;
    cuda.products().run(key, o);
    detail::gelu_backward_now(cuda, du, View<const TU, U>(du), u);
  });
  context.workspace().activations.pop(before);
  return db;
}

namespace detail {

/// dx = or += the sum of `count` parts, one after the other.
template <class T, class S>
struct SumLayers {
  Grad<T, S> dx;
  View<wide_t<T>, S> parts;
  index_t count;

  SRA_DEVICE void operator()(index_t at) const {
    const index_t row = at / S::width, i = at % S::width, rows = dx.to.shape.rows();
    T& to = dx.to.row(row)[i];
    wide_t<T> sum = dx.mode == GradMode::accumulate ? number_cast<wide_t<T>>(to) : wide_t<T>(0);
    for (index_t n = 0; n < count; ++n) sum += parts.row(n * rows + row)[i];
    to = number_cast<T>(sum);
  }
};

/// dx = Σ dy_i W_i: one product, or one for each layer and their sum.
/// @tparam Bank whether there may be several layers  @param weight, up matrices of the first W and dy; steps lead to the next
template <bool Bank, class C, class TX, class X>
void input_gradient(C& context, Grad<TX, X> dx, ProductMatrix weight, ProductMatrix up, ProductOperands o, Cost cost,
                    index_t count) {
  ProductKey key{.accumulate = dx.mode == GradMode::accumulate,
                 .a = weight,
                 .b = up,
                 .c = columns_of("linear", dx.to),
                 .batch = count};
  o.c = dx.to.data;
  if constexpr (Bank) {
    if (count > 1) {
      const View<wide_t<TX>, X> parts = context.template tensor<wide_t<TX>>(X{count * dx.to.shape.batch});
      key.accumulate = false;
      key.c = columns_of("linear", parts);
      key.c.columns = dx.to.shape.rows();
      key.c.step = key.c.columns * key.c.stride;
      o.c = parts.data;
      launch(context, "linear_backward_input", cost, [&](Cuda& cuda) { cuda.products().run(key, o); });
      launch(context, "sum_layers", {view_bytes(parts) + grad_bytes(dx), 0}, [&](Cuda& cuda) {
        for_each(cuda, dx.to.shape.size(), SumLayers<TX, X>{dx, parts, count});
      });
      return;
    }
  }
  launch(context, "linear_backward_input", cost, [&](Cuda& cuda) { cuda.products().run(key, o); });
}

/// dW_i = dy_iᵀ x, and db_i = column sums of dy_i if the library can do that beside it.  @return whether it can
template <class C, class W, class DW, class DB>
bool weight_gradient(C& context, Grad<W, DW> dw, DB db, ProductMatrix input, ProductMatrix up, ProductOperands o,
                     Cost cost, index_t stride, index_t count) {
  ProductKey key{.transpose_b = true,
                 .accumulate = dw.mode == GradMode::accumulate,
                 .a = input,
                 .b = up,
                 .c = columns_of_weight(dw.to),
                 .batch = count};
  key.c.step = stride;
  o.c = dw.to.data;
  bool has_bias = false;
  launch(context, "linear_backward_weight", cost, [&](Cuda& cuda) {
    if constexpr (requires { db.mode; })
      if (db.mode == GradMode::overwrite) {
        auto fused = key;
        auto with_bias = o;
        fused.epilogue = Epilogue::column_sums_b;
        fused.bias_step = stride;
        with_bias.bias = db.to.data;
        has_bias = cuda.products().supports(fused, with_bias);
        if (has_bias) return cuda.products().run(fused, with_bias);
      }
    cuda.products().run(key, o);
  });
  return has_bias;
}

/// The gradients of `count` layers at a distance of `stride` elements, whose dy lie one after the other.
template <bool Bank, class C, class TY, class Y, class TX, class X, class TW, class W, class DX, class DW, class DB>
void linear_layers_backward(C& context, View<const TY, Y> dy, View<TX, X> x, View<const TW, W> w, DX dx, DW dw, DB db,
                            index_t stride, index_t count) {
  const Arena::Mark before = context.workspace().activations.mark();
  const auto up = in_type<TW>(context, dy);
  const auto cost = [&](double bytes) {
    return product_cost(dy.shape.rows(), X::width, Y::width, view_bytes(up) + bytes);
  };
  auto columns = columns_of("linear", up);
  columns.columns = x.shape.rows();
  columns.step = count > 1 ? columns.columns * columns.stride : 0;
  if (dx) {
    auto weight = columns_of_weight(w);
    weight.step = stride;
    const Cost c =
        cost(double(count) * view_bytes(w) + (count > 1 ? double(count) * view_bytes(dx.to) : grad_bytes(dx)));
    input_gradient<Bank>(context, dx, weight, columns, {.a = w.data, .b = up.data}, c, count);
  }
  bool has_bias = false;
  if (dw) {
    const auto input = in_type<TW>(context, x);
    has_bias = weight_gradient(context, dw, db, columns_of("linear", input), columns, {.a = input.data, .b = up.data},
                               cost(view_bytes(input) + double(count) * grad_bytes(dw)), stride, count);
  }
  if constexpr (requires { db.mode; })
    for (index_t i = 0; !has_bias && i < count; ++i) {
      auto part = dy;
      if constexpr (Bank) part = samples_of(dy, i * x.shape.batch, x.shape.batch);
      if (db && i) db.to.data += stride;
      bias_backward(context, part, db);
    }
  context.workspace().activations.pop(before);
}

}  // namespace detail

/// dx = dy W, dW = dyᵀ x, db = column sums of dy, each as its mode says.
template <ContextOn<Cuda> C, class TY, class Y, class TX, class X, class TW, class W, class DX, class DW, class DB>
void linear_backward(C& context, View<const TY, Y> dy, View<TX, X> x, View<const TW, W> w, DX dx, DW dw, DB db) {
  detail::linear_layers_backward<false>(context, dy, x, w, dx, dw, db, 0, 1);
}

/// dx = Σ dy_i W_i, dW_i = dy_iᵀ x, db_i = column sums of dy_i, for layers at a constant distance; dx adds them up in order.
/// @param dw, db of the first layer; the others are of the same modes
template <ContextOn<Cuda> C, class TY, class Y, class TX, class X, class TW, class W, class DX, class DW, class DB>
void linear_bank_backward(C& context, View<const TY, Y> dy, View<TX, X> x, View<const TW, W> w, DX dx, DW dw, DB db,
                          index_t stride, index_t count) {
  detail::linear_layers_backward<true>(context, dy, x, w, dx, dw, db, count > 1 ? stride : 0, count);
}

}  // namespace sra::gpu
