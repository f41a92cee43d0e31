// How an operand of an expression is indexed: the kinds of broadcast, and leaves that are not plain values.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/error.hpp>
#include <sra/core/view.hpp>

#include <type_traits>

namespace sra {

/// How a leaf follows its destination.
enum class Broadcast {
  none,     ///< it does not
  same,     ///< same shape
  sample,   ///< one row per sample: [B, D], or one element: [B]
  per_row,  ///< one element per row: [B, T, 1]
  token,    ///< the same for every sample: [T, D]
  row,      ///< the same for every row: [D]
  scalar,   ///< one element
  grouped,  ///< one row per sample and group of tokens: [B, G, D] with a map [B, T]
};

/// A per-group operand: values [B, G, D] and for every token the number of its group.
/// With G = 1 this is [B, D]; dual-time scheduling (arXiv:2607.02508) has G = 2.
template <Variable V, class Map>
struct Grouped {
  using type = typename V::type;
  using shape = typename V::shape;
  using context_type = typename V::context_type;
  static_assert(shape::rank == 3 && shape::batched, "grouped: the values are [B, G, D]");
  static_assert(std::is_same_v<type, typename context_type::wide>,
                "grouped: the values are of the wide type, in which gradients of a group's tokens are summed");

  V values;
  View<const std::int32_t, Map> group;  ///< [B, T], entries in [0, G)

  context_type& context() const { return values.context(); }
  Grad<type, shape> grad() const { return values.grad(); }
};

/// Makes a per-group operand.  @param values [B, G, D]  @param group [B, T] in [0, G)
/// @throws Error for a group out of range, where the host can see it
template <Variable V, class Map>
Grouped<V, Map> grouped(V values, View<const std::int32_t, Map> group) {
  using C = typename V::context_type;
  constexpr index_t groups = V::shape::extent(1);
  if constexpr (C::backend_type::is_host) {
    for (index_t r = 0; r < group.shape.samples() && !values.context().planning(); ++r)
      for (index_t t = 0; t < Map::sample_size(); ++t)
        if (const index_t g = group.row(r, 0)[t]; g < 0 || g >= groups)
          throw Error(text("grouped: sample ", r, ", token ", t, ": expected a group in [0, ", groups, "), got ", g));
  }
  return {values, group};
}

/// A value as an operand that is never differentiated: unlike for `x.stop_gradient()`, which is known at run time only, no
/// code for its gradient is made.
template <Variable V>
struct Fixed {
  using type = typename V::type;
  using shape = typename V::shape;
  using context_type = typename V::context_type;
  V of;

  context_type& context() const { return of.context(); }
};

/// x without a gradient, for this expression: see Fixed.  x.stop_gradient() is the same for everything computed from it.
template <Variable V>
Fixed<V> fixed(V v) {
  return {v};
}

/// A number of the host as an operand.
struct Constant {
  double value;
};

namespace detail {

template <class>
struct IsGrouped : std::false_type {};
template <class V, class M>
struct IsGrouped<Grouped<V, M>> : std::true_type {};
template <class>
struct IsFixed : std::false_type {};
template <class V>
struct IsFixed<Fixed<V>> : std::true_type {};

/// How In follows Out, decided by their extents alone.
template <class Out, class In>
constexpr Broadcast broadcast_of() {
  if constexpr (std::is_same_v<Out, In>) {
    return Broadcast::same;
  } else if constexpr (In::batched) {
    if constexpr (!Out::batched) return Broadcast::none;
    if constexpr (In::sample_rows == 1 && (In::width == Out::width || In::width == 1)) return Broadcast::sample;
    if constexpr (In::width == 1 && In::sample_rows == Out::sample_rows) return Broadcast::per_row;
    if constexpr (In::width == Out::width && In::sample_rows == Out::sample_rows) return Broadcast::same;
    return Broadcast::none;
  } else {
    if constexpr (In::sample_size() == 1) return Broadcast::scalar;
    if constexpr (In::width == Out::width && In::sample_rows == Out::sample_rows)
      return Out::batched ? Broadcast::token : Broadcast::same;
    if constexpr (In::width == Out::width && In::sample_rows == 1) return Broadcast::row;
    return Broadcast::none;
  }
}

/// A leaf as kernels see it: a view without context, tagged with its broadcast.
template <Broadcast B, class T, class S, class Map = void>
struct LeafView {
  static constexpr Broadcast broadcast = B;
  static constexpr bool single =
      S::width == 1 && B != Broadcast::same && B != Broadcast::token;  ///< one for the whole row
  using type = T;
  View<const T, S> view;
  View<const std::int32_t, Map> group;

  SRA_FN const T* row(index_t b, index_t r) const { return view.row(b, group.row(b, 0)[r]); }
};

template <Broadcast B, class T, class S>
struct LeafView<B, T, S, void> {
  static constexpr Broadcast broadcast = B;
  static constexpr bool single = S::width == 1 && B != Broadcast::same && B != Broadcast::token;
  using type = T;
  View<const T, S> view;

  /// The leaf's row for row r of sample b of the destination.
  SRA_FN const T* row(index_t b, index_t r) const {
    if constexpr (B == Broadcast::same || B == Broadcast::per_row) return view.row(b, r);
    if constexpr (B == Broadcast::sample) return view.sample(b);
    if constexpr (B == Broadcast::token) return view.row(0, r);
    return view.data;
  }
};

/// What a residual norm adds before it normalises, as kernels see it: its input becomes from + gate y.  Without y nothing.
template <class T, class From, class S, class Gate>
struct BranchView {
  View<T, S> y{};
  Gate gate{};
  View<From, S> from{};

  explicit operator bool() const { return y.data != nullptr; }
};

/// A host constant as kernels see it.
struct ConstantView {
  static constexpr Broadcast broadcast = Broadcast::scalar;
  double value;
};

template <class Out, class T, class S, class C>
auto leaf_view(const Var<T, S, C>& v) {
  return LeafView<broadcast_of<Out, S>(), T, S>{v.value};
}
template <class Out, class V>
auto leaf_view(const Fixed<V>& f) {
  return leaf_view<Out>(f.of);
}
template <class Out, class V, class M>
auto leaf_view(const Grouped<V, M>& g) {
  return LeafView<Broadcast::grouped, typename V::type, typename V::shape, M>{g.values.value, g.group};
}
template <class Out>
ConstantView leaf_view(const Constant& c) {
  return {c.value};
}

/// Whether a leaf can follow a destination of shape Out.
template <class Out, class L>
constexpr bool follows() {
  if constexpr (std::is_same_v<L, Constant>) {
    return true;
  } else if constexpr (IsGrouped<L>::value) {
    return L::shape::width == Out::width && decltype(L::group)::shape_type::sample_size() == Out::sample_rows;
  } else {
    return broadcast_of<Out, typename L::shape>() != Broadcast::none;
  }
}

[[noreturn, gnu::cold]] inline void refuse_batches(index_t a, index_t b) {
  throw Error(text("pointwise: operands of one batch, expected ", a, ", got ", b));
}

/// The batch that all operands share, or 1 if none has one.  @throws Error if they differ
template <class... L>
index_t batch_of(const L&... leaf) {
  index_t batch = -1;
  const auto meet = [&](index_t other) {
    if (batch >= 0 && other != batch) refuse_batches(batch, other);
    batch = other;
  };
  const auto look = [&](const auto& l) {
    using Leaf = std::remove_cvref_t<decltype(l)>;
    if constexpr (Variable<Leaf>) {
      if constexpr (Leaf::shape::batched) meet(l.batch());
    } else if constexpr (IsFixed<Leaf>::value) {
      if constexpr (Leaf::shape::batched) meet(l.of.batch());
    } else if constexpr (IsGrouped<Leaf>::value) {
      meet(l.values.value.shape.batch);
      meet(l.group.shape.batch);
    }
  };
  (look(leaf), ...);
  return batch < 0 ? 1 : batch;
}

}  // namespace detail

/// An operand: a value, one that is not differentiated, a per-group value, or a constant.
template <class L>
concept LeafLike = Variable<L> || detail::IsGrouped<std::remove_cvref_t<L>>::value ||
    detail::IsFixed<std::remove_cvref_t<L>>::value || std::is_same_v<std::remove_cvref_t<L>, Constant>;

}  // namespace sra
