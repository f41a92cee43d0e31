// Tests the last layer: modulated norm and projection.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/nn/final_layer.hpp>

using namespace sra;
using namespace sra::module_check;

namespace {

using Final = FinalLayer<6, 10>;
constexpr auto apply = [](const Final& layer, auto x, auto s) { return layer(x, s); };

const auto x = argument<Shape<dynamic, 3, 6>>(2, 1);
const auto s = argument<Shape<dynamic, 6>>(2, 2);

}  // namespace

BOOST_AUTO_TEST_SUITE(final_layer)

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_pytorch) {
  expect_keys(keys<Final>(), {"linear.weight [10, 6]", "linear.bias [10]", "adaLN_modulation.1.weight [12, 6]",
                              "adaLN_modulation.1.bias [12]"});
}

BOOST_AUTO_TEST_CASE(starts_at_zero) {
  Rig<Final, float> rig;
  rig.store().initialise(1);
  for (const double y : rig.value(apply, x, s)) BOOST_TEST(y == 0);
  for (const ParamInfo& p : rig.list())
    for (const double v : rig.values(p.name)) BOOST_TEST(v == 0, p.name);
}

/// Shift comes before scale.
BOOST_AUTO_TEST_CASE(is_a_projection_of_the_modulated_norm) {
  Rig<Final, double> rig;
  const Numbers m = linear(rig, "adaLN_modulation.1", s.values);
  const Numbers y = linear(rig, "linear", modulated(x.values, columns(m, 12, 0, 6), columns(m, 12, 6, 6), 3, 6));
  expect_close("final layer", rig.value(apply, x, s), y, Accuracy{.terms = 36, .floor = 1}.allowed<double>(y));
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) { matches_finite_differences<Final>(apply, x, s); }

BOOST_AUTO_TEST_SUITE_END()
