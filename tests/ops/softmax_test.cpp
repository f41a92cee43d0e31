// Tests softmax: stable, normalised, right derivative, for every width and layout.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/softmax.hpp>
#include <sra/ops/softmax.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(softmax_op)

namespace {

constexpr auto op = [](auto x) { return softmax(x); };

/// Calls check(accuracy, x) for widths around the block of 64, padded and gapped rows.
void each_shape(auto check) {
  // A width of one cancels: y is 1 and dx is 0, from terms of the size of dy.
  check(Accuracy{.terms = 1, .floor = 1}, argument<Shape<dynamic, 1>>(5, 1));
  check(Accuracy{.terms = 3}, argument<Shape<dynamic, 4, 3>>(2, 2));
  check(Accuracy{.terms = 63}, argument<Shape<dynamic, 2, 63>>(1, 3, {.scale = 3}));
  check(Accuracy{.terms = 64}, argument<Shape<dynamic, 64>>(5, 4, {.gap = 7}));
  check(Accuracy{.terms = 130}, argument<Shape<dynamic, 2, 2, 130>>(2, 5, {.scale = 2, .gap = 65}));
  check(Accuracy{.terms = 264}, argument<Shape<dynamic, 264>>(3, 8));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const Accuracy& accuracy, const auto& x) {
    agrees_with_formula(
        op,
        [](const auto& o) {
          constexpr auto width = static_cast<std::size_t>(decltype(o.shape)::width);
          std::vector<double> y(o.values.size());
          for (std::size_t row = 0; row < y.size(); row += width) {
            double sum = 0;
            for (std::size_t i = row; i < row + width; ++i) sum += std::exp(o.values[i]);
            for (std::size_t i = row; i < row + width; ++i) y[i] = std::exp(o.values[i]) / sum;
          }
          return y;
        },
        accuracy, x);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const Accuracy&, const auto& x) { matches_finite_differences(op, x); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& x) { every_isa_agrees(op, accuracy, x); });
}

// y is rounded twice, before and after it is divided by its sum.  dx = y (dy − Σ y dy), of the order of y dy, feels that in y
// and in Σ y dy and is rounded itself: 2 + 2 + 1.
BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  each_shape([](const Accuracy& accuracy, const auto& x) { bf16_agrees(op, 5, accuracy.floor, x); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& x) { accumulates(op, accuracy, x); });
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(op, argument<Shape<dynamic, 64, 65>>(16, 6));
}

BOOST_AUTO_TEST_CASE(large_values_do_not_overflow_and_shifts_do_not_matter) {
  Argument<Shape<dynamic, 65>> x = argument<Shape<dynamic, 65>>(3, 7);
  for (double& v : x.values) v = std::round(v * 8) / 8;  // the shifted values are exact, too
  const auto y = Machine<float>().run(op, {1}, -1, x);
  for (double& v : x.values) v += 30000;
  const auto shifted = Machine<float>().run(op, {1}, -1, x);
  BOOST_TEST((y == shifted));
  for (double& v : x.values) v = -3e38;
  x.values[7] = 3e38;
  const auto spike = Machine<float>().run(op, {1}, -1, x);
  for (std::size_t i = 0; i < 65; ++i) BOOST_TEST(spike.y[i] == (i == 7 ? 1.0 : 0.0));
}

BOOST_AUTO_TEST_SUITE_END()
