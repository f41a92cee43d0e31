// Multi-head attention without a batch-wide score matrix.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/ops/same_batch.hpp>

#include <cmath>
#include <cstdint>

namespace sra {

/// Every query sees every key.
struct NoMask {};

/// A query sees the keys of its own group: attention separation, arXiv:2607.02508.
/// @tparam Map [B, T]
template <class Map>
struct SameGroup {
  View<const std::int32_t, Map> group;
};

/// o = softmax(q kᵀ / √d) v for each head, d = D / Heads.  Vaswani et al. 2017, arXiv:1706.03762.
/// @param q [B, T, D]  @param k, v [B, S, D]; heads lie side by side in D; rows may be parts of a packed qkv
/// @param mask NoMask or SameGroup  @return [B, T, D].  Keeps q, k, v, o and the log-sum-exp (one wide per query and head,
/// base 2).  Scores never exist for more than one head of one sample; sums in the wide type.
template <int Heads, Variable Q, Variable K, Variable V, class Mask = NoMask>
Q attention(Q q, K k, V v, Mask mask = {}) {
  constexpr index_t D = Q::shape::width;
  static_assert(D % Heads == 0, "attention<Heads>: the width must be a multiple of Heads");
  static_assert(Q::shape::rank == 3 && K::shape::rank == 3, "attention: q is [B, T, D], k and v are [B, S, D]");
  static_assert(K::shape::width == D && std::is_same_v<typename K::shape, typename V::shape>,
                "attention: k and v must have one shape, as wide as q");
  detail::expect_same_batch("attention", q, k, v);
  using W = typename Q::context_type::wide;
  auto o = make<typename Q::type>(q.context(), q.value.shape);
  W* lse = q.context().template take<W>(q.value.shape.rows() * Heads);
  attention_forward<Heads>(q.context(), o.value, lse, q.value, k.value, v.value, mask);
  return record(o, [=](auto& c, auto dy) {
    const auto dv = v.grad();  // the order in which the kernel writes: q, k and v may be one value
    const auto dk = k.grad();
    const auto dq = q.grad();
    attention_backward<Heads>(c, dy, o.value, lse, q.value, k.value, v.value, mask, dq, dk, dv);
  });
}

/// The same for q, k and v packed as the projection writes them: qkv [B, T, 3 D] = [q | k | v].
/// @return [B, T, D].  The gradient is written in the same layout, in one go.
template <int Heads, Variable QKV, class Mask = NoMask>
auto self_attention(QKV qkv, Mask mask = {}) {
  using S = typename QKV::shape;
  static_assert(S::rank == 3 && S::width % (3 * Heads) == 0,
                "self_attention<Heads>: qkv is [B, T, 3 D], D a multiple of Heads");
  using Out = with_last<S, S::width / 3>;
  using W = typename QKV::context_type::wide;
  auto o = make<typename QKV::type>(qkv.context(), Out{qkv.batch()});
  W* lse = qkv.context().template take<W>(o.value.shape.rows() * Heads);
  const auto third = [](auto view, index_t i) {
    using T = typename decltype(view)::type;
    return View<T, Out>{view.data + i * Out::width, Out{view.shape.batch}, view.pitch, view.stride};
  };
  const auto v = qkv.value;
  attention_forward<Heads>(qkv.context(), o.value, lse, third(v, 0), third(v, 1), third(v, 2), mask);
  return record(o, [=](auto& c, auto dy) {
    const auto d = qkv.grad();
    using G = Grad<typename QKV::type, Out>;
    attention_backward<Heads>(c, dy, o.value, lse, third(v, 0), third(v, 1), third(v, 2), mask,
                              G{third(d.to, 0), d.mode}, G{third(d.to, 1), d.mode}, G{third(d.to, 2), d.mode});
  });
}

}  // namespace sra
