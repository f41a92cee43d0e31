// Sums and means of values and of expressions, which are evaluated on the way and never stored.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/expr/pointwise.hpp>

#include <algorithm>
#include <type_traits>

namespace sra {

namespace detail {

/// y = Σ e, or its mean, over all elements of e that fall onto one element of R: one launch each way.
/// @tparam R Shape<1>, Shape<dynamic> or Shape<dynamic, D>
template <class R, class T, class Out, class Tree, class... L>
auto reduced(const Expr<Tree, L...>& e, bool mean) {
  return e.leaves.apply([mean](auto... leaf) {
    auto& context = first_context(leaf...);
    const Out shape{batch_of(leaf...)};
    auto y = make<T>(context, R{R::batched ? shape.batch : 1});
    const double scale = mean ? double(y.value.shape.size()) / double(shape.size()) : 1.0;
    reduce_forward<Tree>(context, y.value, shape, scale, pack(leaf_view<Out>(leaf)...));
    return record(y, [=](auto& c, auto dy) {
      const LeafView<broadcast_of<Out, R>(), T, R> incoming{dy};
      pull_expression<Out, Tree>(c, shape, incoming, scale, leaf...);
    });
  });
}

template <class Tree, class... L>
constexpr auto shape_of(const Expr<Tree, L...>&) {
  using Out = typename ShapeOf<L...>::type;
  static_assert(!std::is_void_v<Out>, "sum, mean: every operand has the shape of one of them or broadcasts to it");
  if constexpr (!std::is_void_v<Out>)
    return Out{};
  else
    return Shape<1>{};  // after the sentence above, nothing else
}
template <class E>
using ShapeOfExpr = decltype(shape_of(lift(std::declval<const E&>())));

template <class Tree, class... L>
auto& context_of_all(const Expr<Tree, L...>& e) {
  return e.leaves.apply([](const auto&... leaf) -> auto& { return first_context(leaf...); });
}
template <class E>
using ContextOfExpr = std::remove_reference_t<decltype(context_of_all(lift(std::declval<const E&>())))>;

template <class R, Pointwise E>
auto reduced_to(const E& e, bool mean) {
  return reduced<R, typename ContextOfExpr<E>::wide, ShapeOfExpr<E>>(lift(e), mean);
}

}  // namespace detail

/// Σ e over all elements.  Accumulates in the wide type over rows (pieces of 4096 columns, 64 partial sums), in double
/// and in order across rows.  The derivative runs through the expression's own, in one launch, as for all sums and
/// means here; keeps the operands of e.
/// @param e a value or an expression of any shape  @return [1] wide
template <Pointwise E>
auto sum(const E& e) {
  return detail::reduced_to<Shape<1>>(e, false);
}

/// The mean of e over all elements; accumulates as sum does.
/// @param e a value or an expression of any shape  @return [1] wide
template <Pointwise E>
auto mean(const E& e) {
  return detail::reduced_to<Shape<1>>(e, true);
}

/// Σ e over everything but the batch; accumulates as sum does.
/// @param e a value or an expression [B, ...]  @return [B] wide
template <Pointwise E>
auto sample_sum(const E& e) {
  static_assert(detail::ShapeOfExpr<E>::batched, "sample_sum: the operand must have a batch");
  return detail::reduced_to<Shape<dynamic>>(e, false);
}

/// The mean of e over everything but the batch; accumulates as sum does.
/// @param e a value or an expression [B, ...]  @return [B] wide
template <Pointwise E>
auto sample_mean(const E& e) {
  static_assert(detail::ShapeOfExpr<E>::batched, "sample_mean: the operand must have a batch");
  return detail::reduced_to<Shape<dynamic>>(e, true);
}

/// The mean of e over the tokens, accumulated in double, token after token.
/// @param e a value or an expression [B, T, D]  @return [B, D] wide
template <Pointwise E>
auto mean_tokens(const E& e) {
  using S = detail::ShapeOfExpr<E>;
  static_assert(S::rank == 3 && S::batched, "mean_tokens: the operand must be [B, T, D]");
  return detail::reduced<Shape<dynamic, S::width>, typename detail::ContextOfExpr<E>::wide, S>(detail::lift(e), true);
}

}  // namespace sra
