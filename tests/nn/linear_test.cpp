// Tests the linear layer: keys, initial values, results, gradients.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/nn/linear.hpp>

using namespace sra;
using namespace sra::module_check;

namespace {

using Dense = Linear<5, 7>;
constexpr auto plain = [](const Dense& layer, auto x) { return layer(x); };
constexpr auto activated = [](const Dense& layer, auto x) { return layer.gelu(x); };

}  // namespace

BOOST_AUTO_TEST_SUITE(linear)

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_pytorch) { expect_keys(keys<Dense>(), {"weight [7, 5]", "bias [7]"}); }

BOOST_AUTO_TEST_CASE(weights_are_drawn_and_biases_are_zero) {
  Rig<Linear<8, 4>, float> rig;
  rig.store().initialise(3);
  const double bound = std::sqrt(6.0 / (8 + 4));
  for (const double w : rig.values("weight")) BOOST_TEST((w != 0 && std::abs(w) <= bound));
  for (const double b : rig.values("bias")) BOOST_TEST(b == 0);
  Rig<Linear<8, 4, init::Zero>, float> zero;
  zero.store().initialise(3);
  for (const double w : zero.values("weight")) BOOST_TEST(w == 0);
}

BOOST_AUTO_TEST_CASE(is_x_times_the_transposed_weight_plus_bias) {
  const auto x = argument<Shape<dynamic, 3, 5>>(2, 1);
  Rig<Dense, double> rig;
  const Numbers u = module_check::linear(x.values, rig.values("weight"), rig.values("bias"));
  const Accuracy accuracy{.terms = 5, .floor = 1};
  expect_close("linear", rig.value(plain, x), u, accuracy.allowed<double>(u));
  expect_close("gelu", rig.value(activated, x), gelu(u), accuracy.allowed<double>(u));
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  matches_finite_differences<Dense>(plain, argument<Shape<dynamic, 3, 5>>(2, 1));
  matches_finite_differences<Dense>(activated, argument<Shape<dynamic, 5>>(2, 1));
}

BOOST_AUTO_TEST_SUITE_END()
