// Tests the projection head of the alignment.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/nn/align_head.hpp>

using namespace sra;
using namespace sra::module_check;

namespace {

constexpr auto apply = [](const AlignHead<6>& head, auto x) { return head(x); };

}  // namespace

BOOST_AUTO_TEST_SUITE(align_head)

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_the_checkpoints) {
  expect_keys(keys<AlignHead<6>>(),
              {"linear1.weight [12, 6]", "linear1.bias [12]", "linear2.weight [6, 12]", "linear2.bias [6]"});
}

BOOST_AUTO_TEST_CASE(is_two_layers_around_silu) {
  const auto x = argument<Shape<dynamic, 3, 6>>(2, 1);
  Rig<AlignHead<6>, double> rig;
  const Numbers y = linear(rig, "linear2", silu(linear(rig, "linear1", x.values)));
  expect_close("head", rig.value(apply, x), y, Accuracy{.terms = 12, .floor = 1}.allowed<double>(y));
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  matches_finite_differences<AlignHead<6>>(apply, argument<Shape<dynamic, 3, 6>>(2, 1));
}

BOOST_AUTO_TEST_SUITE_END()
