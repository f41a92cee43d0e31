// Lazy pointwise expressions: built as a type over leaves, evaluated by one fused kernel, differentiated by another.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/pack.hpp>
#include <sra/expr/functors.hpp>
#include <sra/expr/leaf.hpp>

#include <concepts>
#include <cstddef>
#include <type_traits>
#include <utility>

namespace sra {

/// Operand I of a tree.  Kernels keep a block of every operand in rows of a small array and call the tree per column.
template <int I>
struct Operand {
  [[gnu::always_inline]] SRA_FN static auto value(const auto& in, int i) { return in[I][i]; }
  [[gnu::always_inline]] SRA_FN static void pull(const auto&, int i, auto dy, auto& out) { out[I][i] = dy; }
};

/// F applied to the values of sub-trees.  Flat, so that F becomes part of the kernel whatever its size: clang++ inlines by
/// size, and what it does not inline is scalar code for the oldest machine.
template <class F, class... A>
struct Apply {
  [[gnu::always_inline, gnu::flatten]] SRA_FN static auto value(const auto& in, int i) {
    return F::value(A::value(in, i)...);
  }
  [[gnu::always_inline, gnu::flatten]] SRA_FN static void pull(const auto& in, int i, auto dy, auto& out) {
    if constexpr (sizeof...(A) == 1)
      (A::pull(in, i, F::pull(dy, A::value(in, i)...), out), ...);
    else
      distribute(in, i, F::pull(dy, A::value(in, i)...), out, std::index_sequence_for<A...>{});
  }

 private:
  template <std::size_t... I>
  [[gnu::always_inline]] SRA_FN static void distribute(const auto& in, int i, auto d, auto& out,
                                                       std::index_sequence<I...>) {
    (A::pull(in, i, d.v[I], out), ...);
  }
};

/// A tree and its operands, not yet evaluated.
template <class Tree, class... Leaves>
struct Expr {
  using tree = Tree;
  Pack<Leaves...> leaves;
};

namespace detail {

template <class Tree, int N>
struct ShiftBy;
template <int I, int N>
struct ShiftBy<Operand<I>, N> {
  using type = Operand<I + N>;
};
template <class F, class... A, int N>
struct ShiftBy<Apply<F, A...>, N> {
  using type = Apply<F, typename ShiftBy<A, N>::type...>;
};

template <class>
struct IsExpr : std::false_type {};
template <class T, class... L>
struct IsExpr<Expr<T, L...>> : std::true_type {};

template <LeafLike L>
Expr<Operand<0>, L> lift(const L& leaf) {
  return {pack(leaf)};
}
inline Expr<Operand<0>, Constant> lift(double value) { return {pack(Constant{value})}; }
template <class T, class... L>
Expr<T, L...> lift(const Expr<T, L...>& e) {
  return e;
}

template <class F, class T, class... L>
Expr<Apply<F, T>, L...> build(Expr<T, L...> e) {
  return {e.leaves};
}
template <class F, class T, class... L, class U, class... M>
Expr<Apply<F, T, typename ShiftBy<U, sizeof...(L)>::type>, L..., M...> build(Expr<T, L...> a, Expr<U, M...> b) {
  return {a.leaves.apply([&](auto... l) { return b.leaves.apply([&](auto... m) { return pack(l..., m...); }); })};
}

/// The operand that a tree passes on unchanged by additions alone, or -1.
template <class Tree>
inline constexpr int identity_operand = -1;
template <int I>
inline constexpr int identity_operand<Operand<I>> = I;
template <class A, class B>
inline constexpr int identity_operand<Apply<Add, A, B>> =
    identity_operand<A> >= 0 ? identity_operand<A> : identity_operand<B>;

/// Whether all operands follow the shape of L.
template <class L, class... All>
constexpr bool leads() {
  if constexpr (Variable<L> || IsFixed<L>::value)
    return (follows<typename L::shape, All>() && ...);
  else
    return false;
}

template <class... All>
struct ShapeOf {  // the first leaf whose shape all others follow, or void
  template <class First, class... Rest>
  static auto find() {
    if constexpr (leads<First, All...>())
      return typename First::shape{};
    else if constexpr (sizeof...(Rest) > 0)
      return find<Rest...>();
    else
      return;
  }
  using type = decltype(find<All...>());
};

template <class L>
auto* context_of(const L& leaf) {
  if constexpr (std::is_same_v<L, Constant>)
    return static_cast<void*>(nullptr);
  else
    return &leaf.context();
}

template <class L, class... Rest>
auto& first_context(const L& leaf, const Rest&... rest) {
  if constexpr (std::is_same_v<L, Constant>)
    return first_context(rest...);
  else
    return leaf.context();
}

struct NoGrad {};

/// Whether a leaf of this kind can have a gradient.
template <class L>
inline constexpr bool is_differentiable = !std::is_same_v<L, Constant> && !IsFixed<L>::value;

/// Whether somebody may ask for this leaf's gradient.
template <class L>
bool wants_gradient(const L& leaf) {
  if constexpr (!is_differentiable<L>)
    return false;
  else if constexpr (IsGrouped<L>::value)
    return leaf.values.slot != nullptr;
  else
    return leaf.slot != nullptr;
}

template <class L>
auto gradient_of(const L& leaf) {
  if constexpr (!is_differentiable<L>)
    return NoGrad{};
  else
    return leaf.grad();
}

/// Runs the backward kernel of a tree whose incoming gradient is the leaf view dy.  Gradients are asked for in braces,
/// hence in the operands' order: one that occurs twice is first written, then added to, and kernels keep that order.
template <class Out, class Tree, class C, class Dy, class... L>
void pull_expression(C& context, Out shape, Dy dy, double scale, const L&... leaf) {
  pointwise_backward<Tree>(context, shape, dy, scale, pack(leaf_view<Out>(leaf)...),
                           Pack<decltype(gradient_of(leaf))...>{{{gradient_of(leaf)}...}});
}

/// As pull_expression, but operand Passed gets nothing.
template <class Out, class Tree, int Passed, class C, class Dy, std::size_t... I, class... L>
void pull_others(C& context, Out shape, Dy dy, std::index_sequence<I...>, const L&... leaf) {
  const auto gradient = [](auto index, const auto& l) {
    if constexpr (static_cast<int>(decltype(index)::value) == Passed)
      return NoGrad{};
    else
      return gradient_of(l);
  };
  const auto wanted = [](auto index, const auto& l) {
    return static_cast<int>(decltype(index)::value) != Passed && wants_gradient(l);
  };
  if constexpr (((static_cast<int>(I) != Passed && is_differentiable<L>) || ...)) {
    if (!(wanted(std::integral_constant<std::size_t, I>{}, leaf) || ...)) return;
    pointwise_backward<Tree>(context, shape, dy, 1.0, pack(leaf_view<Out>(leaf)...),
                             Pack<decltype(gradient(std::integral_constant<std::size_t, I>{}, leaf))...>{
                                 {{gradient(std::integral_constant<std::size_t, I>{}, leaf)}...}});
  }
}

/// Records y = tree(leaves).
template <class Tree, class T, class Out, class C, class... L>
void record_tree(Var<T, Out, C> y, const L&... leaf) {
  record(y, [=](auto& c, auto dy) {
    const LeafView<Broadcast::same, T, Out> incoming{dy};
    constexpr int passed = identity_operand<Tree>;
    if constexpr (passed >= 0) {
      // The sum's gradient becomes the operand's: computed last, because the others still read it.
      const auto operands = pack(leaf...);
      const auto& kept = get<passed>(operands);
      if constexpr (std::is_same_v<std::remove_cvref_t<decltype(kept)>, Var<T, Out, C>>) {
        pull_others<Out, Tree, passed>(c, y.value.shape, incoming, std::index_sequence_for<L...>{}, leaf...);
        if (kept.slot && !hand_over(y, kept)) deposit(c, kept.grad(), dy);
        return;
      }
    }
    pull_expression<Out, Tree>(c, y.value.shape, incoming, 1.0, leaf...);
  });
}

}  // namespace detail

/// Anything that can be an operand of pointwise maths.
template <class E>
concept Pointwise = LeafLike<E> || detail::IsExpr<std::remove_cvref_t<E>>::value;

template <class A, class B>
concept PointwisePair = (Pointwise<A> && (Pointwise<B> || std::is_arithmetic_v<B>)) ||
                        (std::is_arithmetic_v<A> && Pointwise<B>);

template <class A, class B>
  requires PointwisePair<A, B>
auto operator+(const A& a, const B& b) { return detail::build<Add>(detail::lift(a), detail::lift(b)); }
template <class A, class B>
  requires PointwisePair<A, B>
auto operator-(const A& a, const B& b) { return detail::build<Subtract>(detail::lift(a), detail::lift(b)); }
template <class A, class B>
  requires PointwisePair<A, B>
auto operator*(const A& a, const B& b) { return detail::build<Multiply>(detail::lift(a), detail::lift(b)); }
template <class A, class B>
  requires PointwisePair<A, B>
auto operator/(const A& a, const B& b) { return detail::build<Divide>(detail::lift(a), detail::lift(b)); }
template <Pointwise A>
auto operator-(const A& a) {
  return detail::build<Negate>(detail::lift(a));
}

/// F applied to each element; how users add functions of their own.  F has `value(x)` and `pull(dy, x)`.
template <class F, Pointwise A>
auto map(const A& a) {
  return detail::build<F>(detail::lift(a));
}
/// F applied to pairs.  F has `value(x, y)` and `pull(dy, x, y)` returning Values<T, 2>.
template <class F, class A, class B>
  requires PointwisePair<A, B>
auto map(const A& a, const B& b) { return detail::build<F>(detail::lift(a), detail::lift(b)); }

// clang-format off
/// x², |x|, eˣ, tanh x, σ(x), x σ(x) and gelu(x), elementwise.
template <Pointwise A> auto square(const A& a)  { return map<Square>(a); }
template <Pointwise A> auto abs(const A& a)     { return map<Abs>(a); }
template <Pointwise A> auto exp(const A& a)     { return map<Exp>(a); }
template <Pointwise A> auto tanh(const A& a)    { return map<Tanh>(a); }
template <Pointwise A> auto sigmoid(const A& a) { return map<Sigmoid>(a); }
template <Pointwise A> auto silu(const A& a)    { return map<Silu>(a); }
template <Pointwise A> auto gelu(const A& a)    { return map<Gelu>(a); }
// clang-format on

/// Evaluates into a new tensor of element type T and shape Out.
/// @param e operands in any order; each has the shape Out or one that broadcasts to it (see Broadcast)
template <class T, class Out, class Tree, class... L>
auto evaluate(const Expr<Tree, L...>& e) {
  static_assert(
      (detail::follows<Out, L>() && ...),
      "pointwise: every operand has the destination's shape or broadcasts to it: [B, D], [B], [T, D], [D], one "
      "per row, one element, or grouped [B, G, D]");
  return e.leaves.apply([](auto... leaf) {
    auto& context = detail::first_context(leaf...);
    auto y = make<T>(context, Out{detail::batch_of(leaf...)});
    pointwise_forward<Tree>(context, y.value, pack(detail::leaf_view<Out>(leaf)...));
    if (!(detail::wants_gradient(leaf) || ...)) return y.stop_gradient();
    if constexpr ((detail::is_differentiable<decltype(leaf)> || ...)) detail::record_tree<Tree>(y, leaf...);
    return y;
  });
}

/// y = e, in memory that is there, where nothing is recorded.
template <Variable Y, class Tree, class... L>
void assign(Y y, const Expr<Tree, L...>& e) {
  static_assert(!Y::context_type::recording, "assign: the destination must come from a Detached context");
  using Out = typename Y::shape;
  e.leaves.apply(
      [&](auto... leaf) { pointwise_forward<Tree>(y.context(), y.value, pack(detail::leaf_view<Out>(leaf)...)); });
}

/// Evaluates into the shape that all operands follow, of the context's type for tokens, else wide.
template <class Tree, class... L>
auto eval(const Expr<Tree, L...>& e) {
  using Out = typename detail::ShapeOf<L...>::type;
  static_assert(
      !std::is_void_v<Out>,
      "pointwise: every operand has the destination's shape or broadcasts to it: [B, D], [B], [T, D], [D], one "
      "per row, one element, or grouped [B, G, D]");
  if constexpr (!std::is_void_v<Out>)  // after the sentence above, nothing else
    return e.leaves.apply([&](const auto&... leaf) {
      using C = std::remove_cvref_t<decltype(detail::first_context(leaf...))>;
      return evaluate<element_t<C, Out>, Out>(e);
    });
}
/// A value is its own value.
template <Variable V>
V eval(V v) {
  return v;
}

/// An expression or a value as a residual stream begins: of residual_t.  A value that is so already is itself.
template <class Tree, class... L>
auto residual_stream(const Expr<Tree, L...>& e) {
  return e.leaves.apply([&](const auto&... leaf) {
    using C = std::remove_cvref_t<decltype(detail::first_context(leaf...))>;
    return evaluate<residual_t<C>, typename detail::ShapeOf<L...>::type>(e);
  });
}
template <Variable V>
auto residual_stream(V v) {
  if constexpr (std::is_same_v<typename V::type, residual_t<typename V::context_type>>)
    return v;
  else
    return residual_stream(v * 1);
}

}  // namespace sra
