// Tests the cross-entropy of class scores against its formula and against softmax.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/cross_entropy.hpp>
#include <sra/ops/cross_entropy.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(cross_entropy_op)

namespace {

/// Label of sample b: the first, the last and others.
template <index_t N>
std::int32_t label_of(index_t b) {
  return static_cast<std::int32_t>(b == 0 ? N - 1 : b * b * 7 % N);
}
template <index_t N>
View<const std::int32_t, Shape<dynamic>> some_labels(index_t batch) {
  static const Shared<std::int32_t> all = [] {
    Shared<std::int32_t> labels;
    for (index_t b = 0; b < 64; ++b) labels.push_back(label_of<N>(b));
    return labels;
  }();
  return dense(all.data(), Shape<dynamic>{batch});
}

constexpr auto op = [](auto x) { return cross_entropy(x, some_labels<decltype(x)::shape::width>(x.batch())); };

/// log Σ exp(x) − x_label.
template <class S>
std::vector<double> formula(const Argument<S>& x) {
  std::vector<double> y;
  for (index_t b = 0; b < x.shape.batch; ++b) {
    const double* row = x.values.data() + b * S::width;
    double sum = 0;
    for (index_t i = 0; i < S::width; ++i) sum += std::exp(row[i]);
    y.push_back(std::log(sum) - row[label_of<S::width>(b)]);
  }
  return y;
}

/// Calls check(accuracy, x) for widths around the block of 64.  A result is a difference of scores, a gradient one of
/// probabilities, and both may cancel to less than those: of the order of 4 scales.
void each_shape(auto check) {
  check(Accuracy{.terms = 1, .floor = 4}, argument<Shape<dynamic, 1>>(5, 1));
  check(Accuracy{.terms = 10, .floor = 4}, argument<Shape<dynamic, 10>>(7, 2));
  check(Accuracy{.terms = 63, .floor = 12}, argument<Shape<dynamic, 63>>(3, 3, {.scale = 3}));
  check(Accuracy{.terms = 64, .floor = 4}, argument<Shape<dynamic, 64>>(5, 4, {.gap = 7}));
  check(Accuracy{.terms = 130, .floor = 8}, argument<Shape<dynamic, 130>>(4, 5, {.scale = 2, .gap = 65}));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const Accuracy& accuracy, const auto& x) {
    agrees_with_formula(
        op, [](const auto& o) { return formula(o); }, accuracy, x);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const Accuracy&, const auto& x) { matches_finite_differences(op, x); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& x) { every_isa_agrees(op, accuracy, x); });
}

/// Scores and losses are float beside tokens in bf16: an epsilon of float is 2^-15 of what one rounding to bf16 may be, and
/// every shape is allowed factor · √terms of them.
BOOST_AUTO_TEST_CASE(loses_nothing_beside_bf16) {
  each_shape([](const Accuracy& accuracy, const auto& x) {
    bf16_agrees(op, 0x1p-15 * accuracy.factor * std::sqrt(accuracy.terms), accuracy.floor, x);
  });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& x) { accumulates(op, accuracy, x); });
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(op, argument<Shape<dynamic, 1000>>(64, 6));
}

BOOST_AUTO_TEST_CASE(large_scores_do_not_overflow) {
  Argument<Shape<dynamic, 65>> x{{2}, std::vector<double>(130, -1e30), {}};
  x.values[static_cast<std::size_t>(label_of<65>(0))] = 1e30;  // the label's score beats all others
  x.values[65 + 20] = 1e30;                                    // another's does
  const auto run = Machine<float>().run(op, {1}, -1, x);
  BOOST_TEST(run.y[0] == 0.0);
  BOOST_TEST(run.y[1] == static_cast<double>(1e30f - -1e30f));
  for (const double g : run.gradients[0]) BOOST_TEST(std::isfinite(g));
}

/// Equal scores know nothing: log N.
BOOST_AUTO_TEST_CASE(of_equal_scores_is_the_logarithm_of_their_number) {
  const Argument<Shape<dynamic, 10>> x{{3}, std::vector<double>(30, 7.5), {}};
  for (const double y : Machine<double>().run(op, {1}, -1, x).y)
    BOOST_TEST(std::abs(y - std::log(10.0)) <= 4 * std::numeric_limits<double>::epsilon() * 10);
}

BOOST_AUTO_TEST_CASE(needs_a_label_for_every_sample) {
  const auto wrong = [](auto x) { return cross_entropy(x, some_labels<10>(x.batch() - 1)); };
  const auto run = [&] { Machine<float>().run(wrong, {1}, -1, argument<Shape<dynamic, 10>>(3, 7)); };
  BOOST_CHECK_EXCEPTION(run(), Error, [](const Error& e) {
    return std::string(e.what()) == "cross_entropy: operands of one batch, expected 3 labels, got 2";
  });
}

BOOST_AUTO_TEST_SUITE_END()
