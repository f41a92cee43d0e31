// Two linear layers with a GELU between them: the feed-forward half of a transformer block.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/ops/linear.hpp>

namespace sra {

/// y = W2 gelu(W1 x + b1) + b2, tanh GELU.  Backward, the GELU's derivative is made where the product with W2 ends, and the
/// gradient of b1 there or beside that of W1, as the backend likes.
/// @tparam Remake true: gelu(...) is not kept but made again for the gradient of W2, with the same bits
/// @param x [..., In]  @param w1 [Hidden, In]  @param b1 [Hidden]  @param w2 [Out, Hidden]  @param b2 [Out]
/// @return [..., Out].  Keeps x, the value before GELU and, unless remade, the one after it.
template <bool Remake = false, Variable X, class W1, Variable B1, class W2, Variable B2>
auto feed_forward(X x, W1 w1, B1 b1, W2 w2, B2 b2) {
  using Hidden = with_last<typename X::shape, W1::shape::extent(0)>;
  using Out = with_last<typename X::shape, W2::shape::extent(0)>;
  detail::check_linear<W1, B1, typename X::shape>();
  detail::check_linear<W2, B2, Hidden>();
  using T = element_t<typename X::context_type, Hidden>;
  auto& context = x.context();
  Arena& stack = context.workspace().activations;
  auto y = make<element_t<typename X::context_type, Out>>(context, Out{x.batch()});
  const auto before = context.template tensor<T>(Hidden{x.batch()});
  const Arena::Mark kept = stack.mark();
  const auto after = X::context_type::recording ? context.template tensor<T>(Hidden{x.batch()}) : before;
  linear_gelu_forward(context, after, before, x.value, w1.value, b1.value);
  linear_forward(context, y.value, after, w2.value, b2.value);
  if constexpr (Remake) stack.pop(kept);
  return record(y, [=](auto& c, auto dy) {
    auto hidden = after;
    if constexpr (Remake) {
      hidden = c.template tensor<T>(after.shape);
      gelu_forward(c, hidden, before);
    }
    const auto dw2 = w2.grad();
    const auto db2 = b2.grad();
    linear_backward(c, dy, hidden, w2.value, Grad<T, Hidden>{}, dw2, db2);
    const auto du = hidden;  // its values have served
    const auto db1 = b1.grad();
    const auto rest = linear_gelu_backward(c, du, dy, before, w2.value, db1);  // the gradient of b1, or nothing
    const auto dx = x.grad();
    const auto dw1 = w1.grad();
    linear_backward(c, View<const T, Hidden>(du), x.value, w1.value, dx, dw1, rest);
  });
}

}  // namespace sra
