// Multi-head self-attention with its projections.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/nn/linear.hpp>
#include <sra/ops/attention.hpp>
#include <sra/ops/norm.hpp>
#include <sra/ops/split.hpp>

namespace sra {

/// An affine norm over the head width, for queries and keys (eps 1e-5).
template <int Width>
struct HeadNorm {
  Param<Width> weight;
  Param<Width> bias;

  static constexpr void visit(auto& self, auto&& f) {
    f("weight", self.weight);
    f("bias", self.bias);
  }

  template <class W>
  void initialise(W* values, std::string_view name, std::uint64_t seed) const {
    const Rng rng(seed, Purpose::initialise, 0, init::name_key(name));
    init::One::fill(values + weight.offset, Width, 1, Width, rng);
    init::Zero::fill(values + bias.offset, Width, 1, Width, rng);
  }

  /// Normalises every head of every token on its own.  @param x [B, T, D], rows may be part of qkv  @return [B, T, D]
  template <Variable X>
  auto operator()(X x) const {
    using T = typename X::type;
    using Heads = Shape<dynamic, X::shape::width / Width, Width>;
    if (!x.value.uniform())
      throw Error("HeadNorm: expected rows at one constant distance, got a part of a larger tensor");
    const index_t tokens = x.value.shape.rows();
    auto heads = part_of(x, View<T, Heads>{x.value.data, Heads{tokens}, Width, x.value.row_stride()});
    auto& c = x.context();
    auto n = affine_norm(heads, leaf(c, weight), leaf(c, bias));
    using S = typename X::shape;
    return part_of(n, View<T, S>{n.value.data, x.value.shape, n.value.stride, n.value.stride * S::sample_rows});
  }
};

/// proj(attention(qkv(x))); with QkNorm the queries and keys of each head are normalised first.
template <int Width, int Heads, bool QkNorm = false>
struct Attention {
  Linear<Width, 3 * Width> qkv;
  Linear<Width, Width> proj;

  static constexpr void visit(auto& self, auto&& f) {
    f("qkv", self.qkv);
    f("proj", self.proj);
  }

  /// @param x [B, T, D]  @param mask NoMask or SameGroup  @return [B, T, D]
  template <Variable X, class Mask = NoMask>
  auto operator()(X x, Mask mask = {}) const {
    return proj(self_attention<Heads>(qkv(x), mask));
  }
};

/// The same with norms of queries and keys.
template <int Width, int Heads>
struct Attention<Width, Heads, true> {
  Linear<Width, 3 * Width> qkv;
  HeadNorm<Width / Heads> q_norm;
  HeadNorm<Width / Heads> k_norm;
  Linear<Width, Width> proj;

  static constexpr void visit(auto& self, auto&& f) {
    f("qkv", self.qkv);
    f("q_norm", self.q_norm);
    f("k_norm", self.k_norm);
    f("proj", self.proj);
  }

  template <Variable X, class Mask = NoMask>
  auto operator()(X x, Mask mask = {}) const {
    auto [q, k, v] = split<3>(qkv(x));                             // each [B, T, D]
    return proj(attention<Heads>(q_norm(q), k_norm(k), v, mask));  // [B, T, D]
  }
};

}  // namespace sra
