// Putting values side by side: columns after columns, or tokens after tokens.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/ops/same_batch.hpp>

#include <type_traits>

namespace sra {

namespace detail {

/// Takes a part of shape Part off the front of a view whose parts follow each other along the last extent (Columns) or
/// along the tokens.
template <bool Columns, class T, class S, class Part>
View<T, Part> take_front(View<T, S>& rest, Part shape) {
  const View<T, Part> part{rest.data, shape, rest.pitch, rest.stride};
  rest.data += Columns ? Part::width : Part::sample_rows * rest.pitch;
  return part;
}

/// Copies the values into y one after the other; each gets its part of dy.
template <bool Columns, Variable Y, Variable... X>
Y joined(Y y, X... x) {
  auto rest = y.value;
  (copy(y.context(), take_front<Columns>(rest, x.value.shape), x.value), ...);
  return record(
      y, [=](auto& context, auto dy) { (deposit(context, x.grad(), take_front<Columns>(dy, x.value.shape)), ...); });
}

}  // namespace detail

/// The columns of all operands, in order.
/// @param x, more [..., D_i], equal in all other extents  @return [..., D_1 + D_2 + ...]; keeps nothing
template <Variable X, Variable... More>
auto concat(X x, More... more) {
  using S = typename X::shape;
  static_assert(S::rank >= 2, "concat: the operands must have at least two extents");
  static_assert((std::is_same_v<with_last<typename More::shape, S::width>, S> && ...),
                "concat: the operands must agree in all extents but the last");
  detail::expect_same_batch("concat", x, more...);
  using Joined = with_last<S, (S::width + ... + More::shape::width)>;
  return detail::joined<true>(make<typename X::type>(x.context(), Joined{x.batch()}), x, more...);
}

/// The tokens of all operands, in order.
/// @param x, more [B, T_i, D]  @return [B, T_1 + T_2 + ..., D]; keeps nothing
template <Variable X, Variable... More>
auto concat_rows(X x, More... more) {
  using S = typename X::shape;
  static_assert(S::rank == 3 && S::batched, "concat_rows: the operands must be [B, T, D]");
  static_assert((std::is_same_v<with_extent<typename More::shape, 1, S::extent(1)>, S> && ...),
                "concat_rows: the operands must be [B, T, D] of the same width");
  detail::expect_same_batch("concat_rows", x, more...);
  using Joined = with_extent<S, 1, (S::sample_rows + ... + More::shape::sample_rows)>;
  return detail::joined<false>(make<typename X::type>(x.context(), Joined{x.batch()}), x, more...);
}

}  // namespace sra
