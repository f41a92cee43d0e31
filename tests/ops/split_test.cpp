// Tests the parts of split: where they lie, and where their gradients go.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/ops/split.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(split_op)

namespace {

constexpr auto op = [](auto x) {
  auto [first, second, third] = split<3>(x);
  return first * third + second;
};
constexpr auto second_only = [](auto x) {
  auto [first, second, third] = split<3>(x);
  return second;
};

constexpr Accuracy exact{.factor = 0};
constexpr Accuracy rounded{.terms = 2, .floor = 1};  // one product and one sum of standard normal values

/// Column j of part `part` of the row that starts at `row`.
template <class S>
double at(const Argument<S>& o, std::size_t row, int part, index_t j) {
  return o.values[row * S::width + static_cast<std::size_t>(part * S::width / 3 + j)];
}
template <class S>
std::vector<double> formula(const Argument<S>& o) {
  std::vector<double> y;
  for (std::size_t row = 0; row < o.values.size() / S::width; ++row)
    for (index_t j = 0; j < S::width / 3; ++j) y.push_back(at(o, row, 0, j) * at(o, row, 2, j) + at(o, row, 1, j));
  return y;
}

void each_shape(auto check) {
  check(argument<Shape<dynamic, 3>>(5, 1));
  check(argument<Shape<dynamic, 4, 9>>(2, 2, {.gap = 1}));
  check(argument<Shape<dynamic, 192>>(1, 3));
  check(argument<Shape<dynamic, 2, 2, 195>>(2, 4));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const auto& x) {
    agrees_with_formula(
        op, [](const auto& o) { return formula(o); }, rounded, x);
    const auto second = [](const auto& o) {
      std::vector<double> y;
      constexpr auto width = decltype(o.shape)::width;
      for (std::size_t row = 0; row < o.values.size() / width; ++row)
        for (index_t j = 0; j < width / 3; ++j) y.push_back(at(o, row, 1, j));
      return y;
    };
    agrees_with_formula(second_only, second, exact, x);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const auto& x) { matches_finite_differences(op, x); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const auto& x) { every_isa_agrees(op, rounded, x); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const auto& x) { accumulates(op, rounded, x); });
}

BOOST_AUTO_TEST_CASE(unused_parts_have_zero_gradient) {
  const auto x = argument<Shape<dynamic, 4, 9>>(2, 2, {.gap = 1});
  const auto run = Machine<float>().run(second_only, {1}, -1, x);
  const Rng weights(1, Purpose::user, 1, 0);
  for (std::size_t row = 0; row < 8; ++row)
    for (std::size_t j = 0; j < 9; ++j) {
      const bool used = j / 3 == 1;
      BOOST_TEST(run.gradients[0][row * 9 + j] ==
                 (used ? output_weight(weights, static_cast<index_t>(row * 3 + j - 3)) : 0.0));
    }
}

BOOST_AUTO_TEST_CASE(parts_of_parts_and_the_whole_add_up) {
  const auto nested = [](auto x) {
    auto [left, right] = sra::split<2>(x);
    auto [a, b] = sra::split<2>(left);
    auto [c, d] = sra::split<2>(right);
    auto whole = eval(x * x);
    auto [e, f, g, h] = sra::split<4>(whole);
    return a * d + b * e - c * h + f;
  };
  const auto x = argument<Shape<dynamic, 3, 12>>(2, 5);
  matches_finite_differences(nested, x);
  accumulates(nested, Accuracy{.terms = 6}, x);
}

BOOST_AUTO_TEST_CASE(parts_of_a_parameter_follow_its_state) {
  const auto x = argument<Shape<12>>(1, 6, {.parameter = true});
  const auto used = [](auto p) {
    auto [a, b, c] = sra::split<3>(p);
    return a * c;
  };
  matches_finite_differences(used, x);
  accumulates(used, rounded, x);
}

BOOST_AUTO_TEST_SUITE_END()
