// Tests an alignment of a user's whose target is the clean image itself.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE clean_latent
#define BOOST_TEST_DYN_LINK
#include "training.hpp"

namespace lab {

/// Features after a layer, through a linear head, follow the clean latent, cut into patches.  SRA 2.
struct CleanLatent {
  sra::Layer<> layer{1};
  sra::SmoothL1 distance{};

  template <class Model>
  struct Parameters {
    sra::Linear<Model::config.hidden, Model::config.patch * Model::config.patch * Model::config.channels> head;
    static constexpr void visit(auto& self, auto&& f) { f("latent_head", self.head); }
  };
  auto taps() const { return sra::taps(layer); }

  template <class Pass>
  auto operator()(Pass& pass, const auto& parameters) const {
    constexpr int patch = Pass::model_type::config.patch;
    const auto target = sra::patchify<patch, sra::PatchOrder::channels_last>(pass.inputs().x);  // [B, T, P P C]
    return pass.weighted(sra::constant(0.2), distance(parameters.head(pass.student(layer)), target));
  }
};

}  // namespace lab

BOOST_AUTO_TEST_SUITE(clean_latent)

BOOST_AUTO_TEST_CASE(trains_three_steps) {
  using Model = sra::SiT<lab::config, sra::Classes<3>>;
  sra::Trainer<Model, lab::CleanLatent> trainer{
      {.batch = 6, .align = {sra::Layer{2}, {0.1f}}, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "latent_head.");
}

BOOST_AUTO_TEST_SUITE_END()
