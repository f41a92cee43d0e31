// Layer norms: modulated by a condition (adaLN), and with an affine map of their own (qk-norm).
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/expr/pointwise.hpp>

namespace sra {

namespace detail {

/// Whether L has one row for each sample of Out, or one for each group of its tokens.
template <class Out, class L>
constexpr bool per_sample() {
  if constexpr (IsGrouped<L>::value)
    return follows<Out, L>();
  else
    return Out::batched && L::shape::batched && L::shape::sample_rows == 1;
}

/// One row for all rows of a destination, also where a sample has only one.
template <Variable P>
auto row_view(const P& p) {
  return LeafView<Broadcast::row, typename P::type, typename P::shape>{p.value};
}

template <class Out, class... S>
constexpr void check_modulation() {
  static_assert(((S::shape::width == Out::width) && ...), "modulated_norm: shift and scale must have the width of x");
  static_assert((per_sample<Out, S>() && ...),
                "modulated_norm: shift and scale must be per sample, [B, D], or grouped, [B, G, D]");
}

/// A norm's result, whatever the type of x is.
template <Variable X>
using NormView = View<element_t<typename X::context_type, typename X::shape>, typename X::shape>;
template <Variable X>
auto norm_of(X x, NormView<X> into) {
  using T = element_t<typename X::context_type, typename X::shape>;
  return into.data ? input(x.context(), into) : make<T>(x.context(), x.value.shape);
}

}  // namespace detail

/// y = (x − mean) · rstd · (1 + scale) + shift over the last extent, biased variance.  DiT, arXiv:2212.09748, §3.2 (adaLN).
/// @param x [B, T, D]  @param shift, scale [B, D] or grouped [B, G, D]  @param eps added to the variance
/// @param into where the result goes; none: memory of its own.  See remake_norm
/// @return [B, T, D] of the context's type (element_t).  Keeps x, mean and rstd (8 bytes a row).  Sums in the wide type, sums over tokens
/// in order.
template <Variable X, LeafLike S>
auto modulated_norm(X x, S shift, S scale, float eps = 1e-6f, detail::NormView<X> into = {}) {
  using Out = typename X::shape;
  detail::check_modulation<Out, S>();
  detail::batch_of(x, shift, scale);  // throws unless all have one
  const auto y = detail::norm_of(x, into);
  auto* stats = x.template per_row<2, typename X::context_type::wide>();
  norm_forward(x.context(), y.value, stats, x.value, detail::leaf_view<Out>(shift), detail::leaf_view<Out>(scale), 1.0f,
               eps);
  return record(y, [=](auto& c, auto dy) {
    const auto dx = x.grad();
    const auto dshift = shift.grad();
    const auto dscale = scale.grad();
    norm_backward(c, dy, stats, x.value, detail::leaf_view<Out>(scale), 1.0f, dx, dshift, dscale);
  });
}

/// Makes a norm's result again when the backward pass arrives here, so that many norms may share the memory of one: call it
/// when all that reads n has left its records.  @param n = modulated_norm(x, shift, scale, eps, into)
template <Variable N, Variable X, LeafLike S>
void remake_norm(N n, X x, S shift, S scale, float eps = 1e-6f) {
  using Out = typename X::shape;
  mark(x.context(), [=](auto& c) {
    auto* stats = x.template per_row<2, typename X::context_type::wide>();
    norm_forward(c, n.value, stats, x.value, detail::leaf_view<Out>(shift), detail::leaf_view<Out>(scale), 1.0f, eps);
  });
}

/// A residual stream and its norm.
template <Variable X, Variable N>
struct ResidualNorm {
  X sum;
  N norm;
};

/// sum = x + gate · branch and norm = modulated_norm(sum, shift, scale) in one pass, and their gradients in another.
/// @param x, branch [B, T, D]  @param gate, shift, scale [B, D] or grouped [B, G, D]  @param eps added to the variance
/// @param into where the norm goes; none: memory of its own.  See remake_norm
/// @return both [B, T, D], sum of the type of x, norm of the context's.  Keeps branch, sum, mean and rstd.
template <Variable X, Variable Y, LeafLike S>
auto residual_modulated_norm(X x, S gate, Y branch, S shift, S scale, float eps = 1e-6f,
                             detail::NormView<X> into = {}) {
  using Out = typename X::shape;
  detail::check_modulation<Out, S>();
  constexpr bool fits = std::is_same_v<View<typename Y::type, typename Y::shape>, detail::NormView<X>>;
  static_assert(fits, "residual_modulated_norm: the branch must be of the shape of x and the type that linear makes");
  detail::batch_of(x, gate, branch, shift, scale);
  const X sum = x.like();
  const auto y = detail::norm_of(x, into);
  auto* stats = x.template per_row<2, typename X::context_type::wide>();
  const detail::BranchView<typename Y::type, typename X::type, Out, decltype(detail::leaf_view<Out>(gate))> added{
      branch.value, detail::leaf_view<Out>(gate), x.value};
  norm_forward(x.context(), y.value, stats, sum.value, detail::leaf_view<Out>(shift), detail::leaf_view<Out>(scale),
               1.0f, eps, added);
  record(pack(sum, y), [=](auto& c, auto dsum, auto dy) {
    const auto total = sum.grad();
    const auto dshift = shift.grad();
    const auto dscale = scale.grad();
    const auto dgate = gate.grad();
    const auto dbranch = branch.grad();
    norm_backward(c, dy, stats, sum.value, detail::leaf_view<Out>(scale), 1.0f, total, dshift, dscale, added, dbranch,
                  dgate);
    if (x.slot && !hand_over(sum, x)) deposit(c, x.grad(), dsum);
  });
  return ResidualNorm<X, Y>{sum, y};
}

/// A residual stream whose last sum its next reader makes: x + gate · branch, or x alone.
template <Variable X>
struct OpenSum {
  using context_type = typename X::context_type;
  using Gate = Var<typename context_type::wide, Shape<dynamic, X::shape::width>, context_type>;
  using Branch = Var<element_t<context_type, typename X::shape>, typename X::shape, context_type>;

  X x;
  Gate gate;      ///< [B, D]
  Branch branch;  ///< [B, T, D], or without memory: nothing is added

  OpenSum(X closed) : x(closed), gate(x.context(), {}, nullptr), branch(x.context(), {}, nullptr) {}
  OpenSum(X to, Gate factor, Branch added) : x(to), gate(factor), branch(added) {}

  /// The sum, by a pass of its own.  @return [B, T, D]
  X value() const {
    if (!branch.value.data) return x;
    return x + gate * branch;
  }
  /// The same of a sum that is open, in memory that is there.  Records nothing.
  void close(X to) const { assign(to, x + gate * branch); }
};

/// The sum and its norm: residual_modulated_norm, or modulated_norm if there is nothing to add.
template <Variable X, LeafLike S>
auto modulated_norm(const OpenSum<X>& stream, S shift, S scale, float eps = 1e-6f, detail::NormView<X> into = {}) {
  if (stream.branch.value.data)
    return residual_modulated_norm(stream.x, stream.gate, stream.branch, shift, scale, eps, into);
  return ResidualNorm<X, typename OpenSum<X>::Branch>{stream.x, modulated_norm(stream.x, shift, scale, eps, into)};
}

/// y = (x − mean) · rstd · weight + bias over the last extent, biased variance.   Ba et al. 2016, arXiv:1607.06450.
/// @param x [..., D]  @param weight, bias [D]  @param eps added to the variance
/// @return x's shape, without gaps between rows.  Keeps x, mean and rstd.
template <Variable X, Variable P>
X affine_norm(X x, P weight, P bias, float eps = 1e-5f) {
  using Out = typename X::shape;
  static_assert(P::shape::rank == 1 && P::shape::width == Out::width,
                "affine_norm: weight and bias must be [D], the width of x");
  auto y = make_dense<typename X::type>(x.context(), x.value.shape);
  auto* stats = x.template per_row<2, typename X::context_type::wide>();
  norm_forward(x.context(), y.value, stats, x.value, detail::row_view(bias), detail::row_view(weight), 0.0f, eps);
  return record(y, [=](auto& c, auto dy) {
    const auto dx = x.grad();
    const auto dbias = bias.grad();
    const auto dweight = weight.grad();
    norm_backward(c, dy, stats, x.value, detail::row_view(weight), 0.0f, dx, dbias, dweight);
  });
}

}  // namespace sra
