// Tests the cosine distances over features and over tokens, small and zero vectors included.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/distance.hpp>
#include <sra/cpu/normalize.hpp>
#include <sra/cpu/reduce.hpp>
#include <sra/ops/distance.hpp>
#include <sra/ops/normalize.hpp>
#include <sra/ops/reduce.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(distance_op)

namespace {

constexpr auto features = [](auto a, auto b) { return cosine_features(a, b); };
constexpr auto tokens = [](auto a, auto b) { return cosine_tokens(a, b); };
constexpr auto with_itself = [](auto a) { return cosine_features(a, a); };

/// From normalize, a product and a sum.
constexpr auto unfused_features = [](auto a, auto b) {
  const double rows = static_cast<double>(decltype(a)::shape::sample_rows);
  return eval(1 - sample_sum(normalize(a, 1e-8) * normalize(b, 1e-8)) / rows);
};

/// 1 − Σ_t a b / (max(|a|, eps) max(|b|, eps)) of every feature, its mean over the features.
template <class S>
std::vector<double> token_formula(const Argument<S>& a, const Argument<S>& b) {
  std::vector<double> y;
  for (index_t s = 0; s < a.shape.batch; ++s) {
    double total = 0;
    for (index_t d = 0; d < S::width; ++d) {
      double aa = 0, bb = 0, ab = 0;
      for (index_t t = 0; t < S::sample_rows; ++t) {
        const auto i = static_cast<std::size_t>((s * S::sample_rows + t) * S::width + d);
        aa += a.values[i] * a.values[i], bb += b.values[i] * b.values[i], ab += a.values[i] * b.values[i];
      }
      total += 1 - ab / (std::max(std::sqrt(aa), 1e-8) * std::max(std::sqrt(bb), 1e-8));
    }
    y.push_back(total / S::width);
  }
  return y;
}

/// Calls check(accuracy, a, b).  Vectors of one element cancel: cosines are 1 or -1, gradients 0, from terms of the
/// size of 1 / |a|; the smallest of the operands here is above 0.02.
void each_shape(auto check) {
  check(Accuracy{.terms = 3, .floor = 50}, argument<Shape<dynamic, 1, 3>>(5, 1), argument<Shape<dynamic, 1, 3>>(5, 2));
  check(Accuracy{.terms = 3, .floor = 50}, argument<Shape<dynamic, 3, 1>>(5, 3), argument<Shape<dynamic, 3, 1>>(5, 4));
  check(Accuracy{.terms = 63}, argument<Shape<dynamic, 4, 63>>(2, 5, {.gap = 1}),
        argument<Shape<dynamic, 4, 63>>(2, 6));
  check(Accuracy{.terms = 64}, argument<Shape<dynamic, 5, 64>>(1, 7, {.scale = 9}),
        argument<Shape<dynamic, 5, 64>>(1, 8));
  check(Accuracy{.terms = 130}, argument<Shape<dynamic, 2, 130>>(2, 9),
        argument<Shape<dynamic, 2, 130>>(2, 10, {.gap = 9}));
  check(Accuracy{.terms = 264}, argument<Shape<dynamic, 11, 264>>(2, 15), argument<Shape<dynamic, 11, 264>>(2, 16));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const Accuracy& accuracy, const auto& a, const auto& b) {
    agrees_with_definition(features, unfused_features, accuracy, a, b);
    agrees_with_formula(
        tokens, [](const auto& u, const auto& v) { return token_formula(u, v); }, accuracy, a, b);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  // Columns of few tokens are short vectors, whose third derivative is 1 / |a|³: kept away from zero.
  const auto far = [](auto o) {
    for (double& v : o.values) v += v < 0 ? -1.0 : 1.0;
    return o;
  };
  each_shape([&](const Accuracy&, const auto& a, const auto& b) {
    matches_finite_differences(features, far(a), far(b));
    matches_finite_differences(tokens, far(a), far(b));
  });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& a, const auto& b) {
    every_isa_agrees(features, accuracy, a, b);
    every_isa_agrees(tokens, accuracy, a, b);
  });
}

BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  each_shape([](const Accuracy&, const auto& a, const auto& b) {
    bf16_agrees(features, 1.1, 0.01, a, b);  // some cancel to nothing
    bf16_agrees(tokens, 1.1, 0.01, a, b);
  });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& a, const auto& b) {
    accumulates(features, accuracy, a, b);
    accumulates(tokens, accuracy, a, b);
  });
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  each_shape([](const Accuracy&, const auto& a, const auto& b) {
    ignores_constants(features, a, b);
    ignores_constants(tokens, a, b);
  });
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  const auto a = argument<Shape<dynamic, 64, 65>>(16, 11), b = argument<Shape<dynamic, 64, 65>>(16, 12);
  same_bits_for_any_thread_count(features, a, b);
  same_bits_for_any_thread_count(tokens, a, b);
}

BOOST_AUTO_TEST_CASE(a_value_is_at_no_distance_from_itself) {
  const auto run = Machine<double>().run(with_itself, {1}, -1, argument<Shape<dynamic, 4, 63>>(2, 13));
  expect_close("distance", run.y, {0, 0}, 8 * std::numeric_limits<double>::epsilon());
  expect_close("gradient", run.gradients[0], std::vector<double>(2 * 4 * 63),
               8 * std::numeric_limits<double>::epsilon());
}

// c = a·b / (n(a) n(b)), n(x) = max(|x|, eps), dc/da = b / (n(a) n(b)) − c / n(a) · a / |a|: for |a| < eps the second
// term stays, as the bound is outside the gradient; for a = 0 it is 0.
BOOST_AUTO_TEST_CASE(the_bound_of_the_norm_is_outside_the_gradient) {
  auto a = argument<Shape<dynamic, 2, 1>>(2, 14), b = a;
  const double small = 0x1p-30;  // |a| of the first sample is 5 small < eps
  a.values = {3 * small, 4 * small, 0, 0};
  b.values = {6, 8, 6, 8};
  const auto run = Machine<double>().run(tokens, {1}, -1, a, b);
  const double n = 1e-8, size = 5 * small, cosine = size / n, w0 = output_weight(Rng(1, Purpose::user, 1, 0), 0);
  const double w1 = output_weight(Rng(1, Purpose::user, 1, 0), 1);
  expect_close("distance", run.y, {1 - cosine, 1}, 1e-15);
  const std::vector<double> expected{-w0 * (0.6 / n - cosine / n * 0.6), -w0 * (0.8 / n - cosine / n * 0.8),
                                     -w1 * 0.6 / n, -w1 * 0.8 / n};
  expect_close("gradient", run.gradients[0], expected, 1e-14 / n);
  const auto in_float = Machine<float>().run(tokens, {1}, -1, a, b);
  expect_close("gradient in float", in_float.gradients[0], expected, 1e-5 / n);
}

BOOST_AUTO_TEST_SUITE_END()
