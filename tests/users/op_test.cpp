// Tests ops of a user's, in a namespace of the user's: a structured one with kernels of its own, and a pointwise one.
// SPDX-License-Identifier: MIT
#include "../../examples/02_pointwise_op.hpp"
#include "../../examples/03_structured_op.hpp"
#define SRA_OP_CHECK_CPU
#include "../ops/op_check.hpp"

using namespace sra::op_check;
using sra::dynamic;
using sra::Shape;

namespace {

constexpr auto running = [](auto x) { return lab::running_mean(x); };
constexpr auto pointwise = [](auto x) { return eval(sra::map<lab::Softsign>(x)); };

template <class X>
std::vector<double> means(const Argument<X>& x) {
  constexpr auto tokens = static_cast<std::size_t>(X::extent(1)), width = static_cast<std::size_t>(X::width);
  std::vector<double> y(x.values.size());
  for (std::size_t i = 0; i < y.size(); ++i)
    for (std::size_t t = 0; t <= i / width % tokens; ++t)
      y[i] += x.values[i - t * width] / double(i / width % tokens + 1);
  return y;
}

void each_shape(auto check) {
  check(Accuracy{.terms = 5, .floor = 1}, argument<Shape<dynamic, 5, 3>>(2, 1, {.gap = 2}));
  check(Accuracy{.terms = 9, .floor = 1}, argument<Shape<dynamic, 9, 65>>(3, 2));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(op)

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const Accuracy& accuracy, const auto& x) {
    agrees_with_formula(
        running, [](const auto& o) { return means(o); }, accuracy, x);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const Accuracy&, const auto& x) {
    matches_finite_differences(running, x);
    matches_finite_differences(pointwise, x);
  });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& x) {
    every_isa_agrees(running, accuracy, x);
    every_isa_agrees(pointwise, accuracy, x);
  });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& x) { accumulates(running, accuracy, x); });
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(running, argument<Shape<dynamic, 64, 130>>(7, 1));
}

BOOST_AUTO_TEST_SUITE_END()
