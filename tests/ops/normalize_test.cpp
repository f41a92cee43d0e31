// Tests rows of unit length, their derivative, and the lower bound of the norm.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/normalize.hpp>
#include <sra/ops/normalize.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(normalize_op)

namespace {

constexpr auto op = [](auto x) { return normalize(x); };
constexpr auto bounded = [](auto x) { return normalize(x, 50.0); };  // every row is shorter
constexpr auto bounded_low = [](auto x) { return normalize(x, 0.25); };

/// y = x / max(|x|, eps) of every row.
template <class S>
std::vector<double> unit_rows(const Argument<S>& o, double eps) {
  std::vector<double> y(o.values.size());
  for (std::size_t row = 0; row < y.size(); row += S::width) {
    double sum = 0;
    for (std::size_t i = row; i < row + S::width; ++i) sum += o.values[i] * o.values[i];
    for (std::size_t i = row; i < row + S::width; ++i) y[i] = o.values[i] / std::max(std::sqrt(sum), eps);
  }
  return y;
}

void each_shape(auto check) {
  // A width of one cancels: y is 1 or -1 and dx is 0, from terms of the size of dy / |x|.
  check(Accuracy{.terms = 1, .floor = 20}, argument<Shape<dynamic, 1>>(5, 1));
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
        op, [](const auto& o) { return unit_rows(o, 1e-12); }, accuracy, x);
    agrees_with_formula(
        bounded, [](const auto& o) { return unit_rows(o, 50); }, accuracy, x);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const Accuracy&, const auto& x) {
    matches_finite_differences(op, x);
    matches_finite_differences(bounded, x);
  });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& x) {
    every_isa_agrees(op, accuracy, x);
    every_isa_agrees(bounded, accuracy, x);
  });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& x) { accumulates(op, accuracy, x); });
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(op, argument<Shape<dynamic, 64, 65>>(16, 6));
}

BOOST_AUTO_TEST_CASE(a_row_of_zeros_stays_zero_and_its_gradient_is_divided_by_eps) {
  auto x = argument<Shape<dynamic, 3>>(2, 7);
  for (std::size_t i = 0; i < 3; ++i) x.values[i] = 0;

  const auto run = Machine<double>().run(bounded_low, {1}, -1, x);
  const Rng weights(1, Purpose::user, 1, 0);
  for (std::size_t i = 0; i < 3; ++i) {
    BOOST_TEST(run.y[i] == 0);
    BOOST_TEST(run.gradients[0][i] == 4 * output_weight(weights, static_cast<index_t>(i)));
  }
}

BOOST_AUTO_TEST_SUITE_END()
