// Tests columns and tokens cut out of a value, in place.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/ops/slice.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(slice_op)

namespace {

constexpr Accuracy exact{.factor = 0};

/// Elements [first, first + count) out of every group of `every`, in order.
std::vector<double> pick(const std::vector<double>& x, index_t every, index_t first, index_t count) {
  std::vector<double> y;
  for (auto start = x.begin(); start != x.end(); start += every)
    y.insert(y.end(), start + first, start + first + count);
  return y;
}

template <index_t First, index_t Count>
void columns(auto& check, auto x) {
  check([](auto v) { return slice<First, Count>(v); },
        [](const auto& o) { return pick(o.values, o.shape.width, First, Count); }, x);
}
template <index_t First, index_t Count>
void tokens(auto& check, auto x) {
  check(
      [](auto v) { return slice_rows<First, Count>(v); },
      [](const auto& o) { return pick(o.values, o.shape.sample_size(), First * o.shape.width, Count * o.shape.width); },
      x);
}

/// Calls check(op, definition, x) for columns of rows and for tokens of samples.
void each_case(auto check) {
  columns<0, 1>(check, argument<Shape<dynamic, 1>>(5, 1));
  columns<1, 63>(check, argument<Shape<dynamic, 4, 65>>(2, 2));
  columns<65, 65>(check, argument<Shape<dynamic, 2, 2, 130>>(1, 3, {.gap = 3}));
  tokens<0, 5>(check, argument<Shape<dynamic, 5, 3>>(2, 4));
  tokens<2, 1>(check, argument<Shape<dynamic, 5, 65>>(5, 5, {.gap = 1}));
}

constexpr auto overlapping = [](auto x) {
  return slice<0, 3>(x) * slice<2, 3>(x) + slice<1, 3>(x);  // columns 2 and 3 are in all of them
};

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_case([](auto op, auto definition, const auto& x) { agrees_with_formula(op, definition, exact, x); });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_case([](auto op, auto, const auto& x) { matches_finite_differences(op, x); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_case([](auto op, auto, const auto& x) { every_isa_agrees(op, Accuracy{}, x); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_case([](auto op, auto, const auto& x) { accumulates(op, Accuracy{}, x); });
}

BOOST_AUTO_TEST_CASE(what_is_not_in_the_slice_has_zero_gradient) {
  const auto ends = [](auto x) { return sra::slice<0, 1>(sra::slice_rows<1, 1>(x)); };
  const auto run = Machine<float>().run(ends, {1}, -1, argument<Shape<dynamic, 3, 5>>(2, 6, {.gap = 2}));
  const Rng weights(1, Purpose::user, 1, 0);
  for (std::size_t i = 0; i < 30; ++i)
    BOOST_TEST(run.gradients[0][i] == (i % 15 == 5 ? output_weight(weights, static_cast<index_t>(i / 15)) : 0.0));
}

BOOST_AUTO_TEST_CASE(slices_may_overlap) {
  const auto x = argument<Shape<dynamic, 2, 6>>(3, 7);
  matches_finite_differences(overlapping, x);
  accumulates(overlapping, Accuracy{.terms = 4, .floor = 1}, x);
}

BOOST_AUTO_TEST_SUITE_END()
