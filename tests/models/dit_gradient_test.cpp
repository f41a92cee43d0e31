// Tests gradients of whole models in double, and the product of all modulations.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE dit_gradient
#define BOOST_TEST_DYN_LINK
#include "tiny_models.hpp"

using namespace sra;
using namespace sra::module_check;
using namespace sra::tiny_models;

BOOST_AUTO_TEST_SUITE(dit_gradient)

/// The product of all modulations against each block's own layer; both sum 16 terms.
BOOST_AUTO_TEST_CASE(a_bank_of_modulations_is_each_blocks_own) {
  Rig<Grey, double> rig;
  const auto by_hand = [](const Grey& model, auto x) {
    auto& c = x.context();
    const auto s = model.condition(c, times<double>(), conditions<Classes<3>>());
    auto tokens = model.embed(x);
    for (const auto& block : model.blocks) tokens = block(tokens, block.modulation(s));
    return unpatchify<4, PatchOrder::channels_last, 8, 16>(model.final_layer(tokens, s));
  };
  const Outcome bank = rig.run(forward, images<Grey>()), own = rig.run(by_hand, images<Grey>());
  // Norms magnify rounding by the size of what they divide over its deviation: a factor of 10.
  const Accuracy accuracy{.terms = 64, .factor = 40, .floor = 1};
  expect_close("model", bank, own, accuracy, false);
}

BOOST_AUTO_TEST_CASE(gradients_of_a_model_match_finite_differences) {
  matches_finite_differences<Rgb>(forward, images<Rgb>());
}

BOOST_AUTO_TEST_SUITE_END()
