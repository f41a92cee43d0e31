// Tests gradients of whole models in double, and the product of all modulations.
// SPDX-License-Identifier: MIT
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

/// A model of some depth that keeps all of a block, or its input alone.
template <Recompute R>
inline constexpr DiTConfig deep{
    .height = 8, .width = 16, .channels = 1, .patch = 2, .hidden = 64, .depth = 5, .heads = 2, .recompute = R};
template <Recompute R>
using Deep = SiT<deep<R>, Classes<3>>;

/// Bytes that the stack held when the backward pass began.
template <class M>
std::size_t kept(Rig<M, float>& rig) {
  std::size_t used = 0;
  const auto look = [&](const auto& model, auto x) {
    const auto y = forward(model, x);
    used = x.context().workspace().activations.used();
    return y;
  };
  rig.run(look, images<M>());
  return used;
}

/// Same bits as when all is kept, and what that keeps more, in tensors [B, T, D] of a block.
template <Recompute R>
double saved() {
  Rig<Deep<Recompute::none>, float> keeps;
  Rig<Deep<R>, float> recomputes;
  const auto all = keeps.run(forward, images<Deep<Recompute::none>>());
  BOOST_TEST((recomputes.run(forward, images<Deep<R>>()) == all));
  BOOST_TEST((recomputes.run(forward, images<Deep<R>>()) == all));  // nothing is left of the first
  BOOST_TEST((keeps.value(forward, images<Deep<Recompute::none>>()) == recomputes.value(forward, images<Deep<R>>())));
  return double(kept(keeps) - kept(recomputes)) / double(3 * 32 * 64 * sizeof(float)) / deep<R>.depth;
}

/// A block keeps 18 tensors [B, T, D] (x twice, norms twice, qkv three, attention, both projections, two of the MLP's four
/// each) and the log-sum-exp.  All blocks share the memory of one norm.
BOOST_AUTO_TEST_CASE(recomputation_gives_the_same_bits_from_less_memory) {
  const double norm = saved<Recompute::norm>(), gelu = saved<Recompute::norm_gelu>(), block = saved<Recompute::block>();
  BOOST_TEST_MESSAGE("tensors of a block that are not kept: " << norm << ", " << gelu << ", " << block);
  BOOST_TEST(norm == 2 - 1.0 / 5, boost::test_tools::tolerance(0.01));
  BOOST_TEST(gelu == 6 - 1.0 / 5, boost::test_tools::tolerance(0.01));
  BOOST_TEST(block >= 17);
}

BOOST_AUTO_TEST_SUITE_END()
