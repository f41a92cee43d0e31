// An alignment with parameters of its own, and a data set whose samples carry what it follows.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <cstddef>

namespace lab {

/// Features after a block, through a head, follow an encoder's, which the samples carry.  REPA, arXiv:2410.06940.
/// @tparam L the student's layer  @tparam K width of the encoder's features  @tparam Hidden width of the head
template <sra::LayerLike L, int K, int Hidden>
struct Repa {
  L layer{};

  template <class Model>
  struct Parameters {
    sra::Linear<Model::config.hidden, Hidden> in;
    sra::Linear<Hidden, K> out;
    static constexpr void visit(auto& self, auto&& f) { f("repa.0", self.in), f("repa.2", self.out); }
  };
  auto taps() const { return sra::taps(layer); }

  template <class Pass>
  auto operator()(Pass& pass, const auto& parameters) const {
    const auto target = pass.template features<Pass::model_type::config.tokens(), K>();  // [B, T, K], no gradient
    const auto h = parameters.out(silu(parameters.in(pass.student(layer))));             // [B, T, K]
    return pass.weighted(sra::constant(0.5), mean(cosine_features(h, target)));          // [1]
  }
};

/// Shapes with "an encoder's features": the mean colour of every patch, which any other function of the picture could replace.
template <int Side, int Patch>
struct Described {
  static constexpr int patches = Side / Patch;
  struct Sample : sra::Image<3, Side, Side> {
    static constexpr sra::index_t feature_size = patches * patches * 3;
  };

  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    sra::Shapes<Side>{}.read(i, rng, {out.image, out.label});
    for (std::size_t k = 0; k < out.features.size(); ++k) out.features[k] = 0;
    for (int y = 0; y < Side; ++y)
      for (int x = 0; x < Side; ++x)
        for (int c = 0; c < 3; ++c)
          out.features[static_cast<std::size_t>((y / Patch * patches + x / Patch) * 3 + c)] +=
              out.image[static_cast<std::size_t>((y * Side + x) * 3 + c)] / (Patch * Patch);
  }
};

}  // namespace lab
