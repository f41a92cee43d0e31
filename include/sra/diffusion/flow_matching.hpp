// The objective of SiT: times, noise, noised inputs, and the denoising loss.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/error.hpp>
#include <sra/core/philox.hpp>
#include <sra/diffusion/path.hpp>
#include <sra/expr/pointwise.hpp>
#include <sra/ops/reduce.hpp>

#include <cstdint>
#include <string>

namespace sra {

/// How training times are drawn.
enum class TimeDistribution {
  uniform,   ///< U[0, 1)
  lognormal  ///< n ~ N(0, 1); the time whose noise-to-signal ratio is eⁿ
};

/// What makes the draws of a batch: randomness depends on nothing else.
struct DrawKey {
  std::uint64_t seed = 0;
  index_t step = 0;             ///< finished updates
  index_t first_sample = 0;     ///< global ordinal of the batch's first sample within the step
  const DrawKey* at = nullptr;  ///< where kernels find the key of the step, if they are launched again in other steps

  /// To be called where `at` may be read.
  SRA_FN Rng rng(Purpose purpose, index_t row) const {
    const DrawKey& key = at ? *at : *this;
    return Rng(key.seed, purpose, key.step, key.first_sample + row);
  }
};

/// Flow matching: predict the velocity v = α′ x + σ′ ε from x_t = α x + σ ε.   SiT, arXiv:2401.08740.
/// @tparam Path LinearPath (v = ε − x) or CosinePath
template <class Path = LinearPath>
struct FlowMatching {
  using path = Path;
  TimeDistribution time = TimeDistribution::uniform;

  std::string describe() const {
    return text("FlowMatching ", Path::name, time == TimeDistribution::uniform ? " uniform" : " lognormal");
  }

  /// Draws times of a batch.  @param t [B], written
  template <Context C, class W>
  void draw_times(C& context, View<W, Shape<dynamic>> t, DrawKey key) const {
    times_draw<Path>(context, t, key, time);
  }

  /// x_t = α x + σ ε.  @param x, noise [B, H, W, C]  @param t [B]  @return [B, H, W, C], a constant
  template <Variable X, class W>
  X noised(X x, X noise, View<const W, Shape<dynamic>> t) const {
    const auto p = coefficients(x.context(), t);
    return X(p[0] * fixed(x) + p[1] * fixed(noise));
  }

  /// The sample's mean of (v̂ − v)².  @param velocity v̂ [B, H, W, C]  @param x, noise constants  @return [B]
  template <Variable V, Variable X, class W>
  auto loss(V velocity, X x, X noise, View<const W, Shape<dynamic>> t) const {
    constexpr bool fits = std::is_same_v<typename V::shape, typename X::shape>;
    static_assert(
        fits, "FlowMatching: the velocity must have the images' shape; models with learn_sigma are for sampling only");
    const auto p = coefficients(x.context(), t);
    if constexpr (fits)
      return sample_mean(square(velocity - (p[2] * fixed(x) + p[3] * fixed(noise))));
    else
      return sample_mean(x);  // after the sentence above, nothing else
  }

 private:
  template <class C, class W>
  struct Coefficients {
    Var<W, Shape<dynamic>, C> v[4];  ///< α, σ, α′, σ′, each [B]
    auto operator[](int i) const { return fixed(v[i]); }
  };

  template <Context C, class W>
  static Coefficients<C, W> coefficients(C& context, View<const W, Shape<dynamic>> t) {
    View<W, Shape<dynamic>> p[4];
    for (auto& v : p) v = context.template tensor<W>(t.shape);
    path_coefficients<Path>(context, p[0], p[1], p[2], p[3], t);
    return {{constant(context, p[0]), constant(context, p[1]), constant(context, p[2]), constant(context, p[3])}};
  }
};

}  // namespace sra
