// Tests the feed-forward layer of a block.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/nn/mlp.hpp>

using namespace sra;
using namespace sra::module_check;

namespace {

constexpr auto apply = [](const Mlp<6, 24>& mlp, auto x) { return mlp(x); };

}  // namespace

BOOST_AUTO_TEST_SUITE(mlp)

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_pytorch) {
  expect_keys(keys<Mlp<6, 24>>(), {"fc1.weight [24, 6]", "fc1.bias [24]", "fc2.weight [6, 24]", "fc2.bias [6]"});
}

BOOST_AUTO_TEST_CASE(is_two_layers_around_the_tanh_form_of_gelu) {
  const auto x = argument<Shape<dynamic, 3, 6>>(2, 1);
  Rig<Mlp<6, 24>, double> rig;
  const Numbers y = linear(rig, "fc2", gelu(linear(rig, "fc1", x.values)));
  expect_close("mlp", rig.value(apply, x), y, Accuracy{.terms = 24, .floor = 1}.allowed<double>(y));
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  matches_finite_differences<Mlp<6, 24>>(apply, argument<Shape<dynamic, 3, 6>>(2, 1));
}

BOOST_AUTO_TEST_SUITE_END()
