// Linear layers, with and without bias, and with the GELU that follows fused in.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/expr/pointwise.hpp>

#include <type_traits>

namespace sra {

/// Stands for "no bias".
struct NoBias {};

namespace detail {

template <class W, class Bias, class S>
constexpr void check_linear() {
  static_assert(W::shape::rank == 2, "linear: the weight is [out, in]");
  static_assert(S::width == W::shape::extent(1),
                "linear: the last extent of the input must equal the weight's input width");
  if constexpr (!std::is_same_v<Bias, NoBias>)
    static_assert(Bias::shape::rank == 1 && Bias::shape::width == W::shape::extent(0),
                  "linear: the bias must be as wide as the weight's output");
}

template <class Bias>
auto bias_view(const Bias& bias) {
  if constexpr (std::is_same_v<Bias, NoBias>)
    return NoBias{};
  else
    return bias.value;
}
template <class Bias>
auto bias_grad(const Bias& bias) {
  if constexpr (std::is_same_v<Bias, NoBias>)
    return NoGrad{};
  else
    return bias.grad();
}

/// One layer of a bank.
template <class W, class Bias>
struct BankLayer {
  W weight;
  Bias bias;
  Slot slot{};  ///< of this bias

  /// @param elements, states from the first layer's parameters to this one's
  BankLayer(W first, Bias first_bias, index_t elements, index_t states) : weight(first), bias(first_bias) {
    weight.value.data += elements;
    if (!weight.gradient) return;
    weight.gradient += elements;
    weight.state += states;
    slot = *bias.slot;
    slot.data = static_cast<typename Bias::type*>(slot.data) + elements;
    slot.state += states;
  }
  /// Whether the gradients are written, added to or ignored as another layer's are.
  bool like(const BankLayer& other) const {
    return !weight.gradient || (*weight.state == *other.weight.state && *slot.state == *other.slot.state);
  }
  auto bias_grad() {
    bias.slot = weight.gradient ? &slot : nullptr;
    return bias.grad();
  }
  /// Both gradients are now written.
  void take_grads() {
    weight.grad();
    bias_grad();
  }
};

}  // namespace detail

/// y = x Wᵀ + b.
/// @param input [..., In] value or expression  @param weight [Out, In]  @param bias [Out] or NoBias
/// @return [..., Out] of the context's type for tokens, else wide.  Keeps x.
template <Pointwise Input, class W, class Bias = NoBias>
auto linear(const Input& input, W weight, Bias bias = {}) {
  const auto x = eval(input);
  using X = std::remove_const_t<decltype(x)>;
  detail::check_linear<W, Bias, typename X::shape>();
  using Out = with_last<typename X::shape, W::shape::extent(0)>;
  auto y = make<element_t<typename X::context_type, Out>>(x.context(), Out{x.batch()});
  linear_forward(x.context(), y.value, x.value, weight.value, detail::bias_view(bias));
  return record(y, [=](auto& c, auto dy) {
    const auto dx = x.grad();
    const auto dw = weight.grad();
    const auto db = detail::bias_grad(bias);
    linear_backward(c, dy, x.value, weight.value, dx, dw, db);
  });
}

/// The results of linear_bank: one [B, Out] after the other.
template <Variable Y>
struct Bank {
  Y all;          ///< [count B, Out]
  index_t batch;  ///< B

  /// Result i, 0-based: a part of `all`.  @return [B, Out]
  Y operator[](index_t i) const { return part_of(all, samples_of(all.value, i * batch, batch)); }
};

/// y_i = x W_iᵀ + b_i for `count` layers whose parameters lie at one constant distance in the flat buffers: all adaLN
/// modulations of a model by one kernel.
/// @param x [B, In]  @param weight, bias of the first layer  @param stride elements from one layer to the next
/// @param states parameters from one layer to the next  @return Bank of `count` [B, Out].  Keeps x.
template <Variable X, class W, Variable Bias>
auto linear_bank(X x, W weight, Bias bias, index_t stride, index_t states, index_t count) {
  detail::check_linear<W, Bias, typename X::shape>();
  static_assert(X::shape::rank == 2, "linear_bank: the input is per sample, [B, In]");
  using Out = Shape<dynamic, W::shape::extent(0)>;
  auto y = make<element_t<typename X::context_type, Out>>(x.context(), Out{count * x.batch()});
  linear_bank_forward(x.context(), y.value, x.value, weight.value, bias.value, stride, count);
  record(y, [=](auto& c, auto dy) {
    const auto layer = [=](index_t i) { return detail::BankLayer<W, Bias>(weight, bias, i * stride, i * states); };
    for (index_t first = 0, end = 0; first < count; first = end) {
      auto top = layer(first);
      while (++end < count && layer(end).like(top)) {
      }
      const auto dx = x.grad();
      const auto dw = top.weight.grad();
      const auto db = top.bias_grad();
      for (index_t i = first + 1; i < end; ++i) layer(i).take_grads();
      linear_bank_backward(c, samples_of(dy, first * x.batch(), (end - first) * x.batch()), x.value, top.weight.value,
                           dx, dw, db, stride, end - first);
    }
  });
  return Bank<decltype(y)>{y, x.batch()};
}

/// y = gelu(x Wᵀ + b), tanh form.
/// @param input [..., In] value or expression  @param weight [Out, In]  @param bias [Out]
/// @return [..., Out].  Keeps x and the value before GELU.
template <Pointwise Input, class W, Variable Bias>
auto linear_gelu(const Input& input, W weight, Bias bias) {
  const auto x = eval(input);
  using X = std::remove_const_t<decltype(x)>;
  detail::check_linear<W, Bias, typename X::shape>();
  using Out = with_last<typename X::shape, W::shape::extent(0)>;
  using T = element_t<typename X::context_type, Out>;
  auto y = make<T>(x.context(), Out{x.batch()});
  const auto before = x.context().template tensor<T>(y.value.shape);
  linear_gelu_forward(x.context(), y.value, before, x.value, weight.value, bias.value);
  return record(y, [=](auto& c, auto dy) {
    const auto du = c.template tensor<T>(y.value.shape);
    gelu_backward(c, du, dy, before);
    const auto dx = x.grad();
    const auto dw = weight.grad();
    const auto db = bias.grad();
    linear_backward(c, View<const T, Out>(du), x.value, weight.value, dx, dw, db);
  });
}

}  // namespace sra
