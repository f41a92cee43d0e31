// The embedders: patches, times and conditions become vectors of the model's width.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/nn/linear.hpp>
#include <sra/ops/embedding.hpp>
#include <sra/ops/patch.hpp>

#include <cmath>
#include <cstdint>
#include <string>

namespace sra {

/// Patches to tokens: a convolution of stride P over P x P patches.  The weight is a convolution's: [D, C, P, P].
template <int P, int Channels, int Width>
struct PatchEmbedProjection {
  Param<Width, Channels, P, P> weight;
  Param<Width> bias;

  static constexpr void visit(auto& self, auto&& f) {
    f("weight", self.weight);
    f("bias", self.bias);
  }

  void initialise(const auto& values, std::string_view name, std::uint64_t seed) const {
    const Rng rng(seed, Purpose::initialise, 0, init::name_key(name));
    values.fill(weight, init::XavierUniform::rule(Width, Channels * P * P, rng));
    values.fill(bias, init::Constant{0});
  }

  /// @param x [B, H, W, C]  @return [B, T, D]
  template <Variable X>
  auto operator()(X x) const {
    auto& c = x.context();
    return linear(patchify<P, PatchOrder::channels_first>(x), sra::weight(c, weight), leaf(c, bias));
  }
};

/// x_embedder of the checkpoints.
template <int P, int Channels, int Width>
struct PatchEmbed {
  PatchEmbedProjection<P, Channels, Width> proj;
  static constexpr void visit(auto& self, auto&& f) { f("proj", self.proj); }
  template <Variable X>
  auto operator()(X x) const {
    return proj(x);
  }
};

/// Times to vectors: sinusoidal features, then Linear, SiLU, Linear.
template <int Width, int Features = 256>
struct TimeEmbed {
  Linear<Features, Width, init::Normal02> first;
  Linear<Width, Width, init::Normal02> second;

  static constexpr void visit(auto& self, auto&& f) {
    f("mlp.0", self.first);
    f("mlp.2", self.second);
  }

  /// @param t [B]  @return [B, D]
  template <Context C, class W>
  auto operator()(C& context, View<const W, Shape<dynamic>> t) const {
    return second(silu(first(time_features<Features>(context, t))));
  }
};

/// The condition is one of N classes, or the null class N.
template <int N>
struct Classes {
  static constexpr int count = N;
  static constexpr int null_class = N;
  static constexpr const char* name = "Classes";
  using View = sra::View<const std::int32_t, Shape<dynamic>>;  ///< [B], in [0, N]

  /// Every sample's label becomes the null class with probability p, by a draw of its own.  @return [B]
  template <Context C, class Key>
  static View drop(C& context, View labels, Key key, float p) {
    const auto kept = context.template tensor<std::int32_t>(labels.shape);
    drop_labels(context, kept, labels, key, p, null_class);
    return kept;
  }
  /// The labels and then as often the null class: both halves of guidance.  @return [2 B]
  template <Context C>
  static View with_null(C& context, View labels) {
    static_assert(N < (1 << 24), "Classes<N>: labels are copied through float");
    const index_t n = labels.shape.batch;
    const auto both = context.template tensor<std::int32_t>(Shape<dynamic>{2 * n});
    copy(context, samples_of(both, 0, n), labels);
    fill(context, samples_of(both, n, n), null_class);
    return both;
  }
  /// The first label outside [0, N] as a sentence, or "".  @param labels in host memory
  static std::string complaint(View labels) {
    for (index_t b = 0; b < labels.shape.batch; ++b)
      if (labels.data[b] < 0 || labels.data[b] > N)
        return text("sample ", b, ": expected a label in [0, ", N, ") or the null class ", N, ", got ", labels.data[b]);
    return "";
  }

  /// The module that turns a condition into [B, Width].
  template <int Width>
  struct Embed {
    Param<N + 1, Width> weight;

    static constexpr void visit(auto& self, auto&& f) { f("embedding_table.weight", self.weight); }

    void initialise(const auto& values, std::string_view module, std::uint64_t seed) const {
      const Rng rng(seed, Purpose::initialise, 0, init::name_key(module));
      values.fill(weight, init::Normal02::rule(N + 1, Width, rng));
    }

    /// e = time + table[labels].  @param time [B, D]  @return [B, D]
    template <Variable E>
    E operator()(E time, View labels) const {
      auto& c = time.context();
      return time + embedding(c, leaf(c, weight), labels);
    }
  };
};

/// The condition is a vector of K numbers; the null condition is the zero vector.
template <int K>
struct Vector {
  static constexpr int count = K;
  static constexpr const char* name = "Vector";
  using View = sra::View<const float, Shape<dynamic, K>>;  ///< [B, K]

  /// Every sample's vector becomes zero with probability p, by a draw of its own.  @return [B, K]
  template <Context C, class Key>
  static View drop(C& context, View vectors, Key key, float p) {
    const auto kept = context.template tensor<float>(vectors.shape);
    drop_rows(context, kept, vectors, key, p);
    return kept;
  }
  /// The vectors and then as many zeros: both halves of guidance.  @return [2 B, K]
  template <Context C>
  static View with_null(C& context, View vectors) {
    const index_t n = vectors.shape.batch;
    const auto both = context.template tensor<float>(Shape<dynamic, K>{2 * n});
    copy(context, samples_of(both, 0, n), vectors);
    fill(context, samples_of(both, n, n), 0.0f);
    return both;
  }

  /// The module that turns a condition into [B, Width].
  template <int Width>
  struct Embed {
    Linear<K, Width, init::Normal02> proj;

    static constexpr void visit(auto& self, auto&& f) { f("proj", self.proj); }

    template <Variable E>
    E operator()(E time, View vectors) const {
      auto& c = time.context();
      auto v = make<typename E::type>(c, vectors.shape).stop_gradient();
      copy(c, v.value, vectors);
      return time + proj(v);
    }
  };
};

/// There is no condition.
struct Unconditional {
  static constexpr int count = 0;
  static constexpr const char* name = "Unconditional";
  struct View {};

  template <Context C, class Key>
  static View drop(C&, View, Key, float) {
    return {};
  }

  /// The module that turns a condition into [B, Width].
  template <int Width>
  struct Embed {
    static constexpr void visit(auto&, auto&&) {}
    template <Variable E>
    E operator()(E time, View) const {
      return time;
    }
  };
};

}  // namespace sra
