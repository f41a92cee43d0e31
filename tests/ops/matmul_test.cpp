// Tests products of batches of matrices, plain and with the second operand transposed.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/matmul.hpp>
#include <sra/ops/matmul.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(matmul_op)

namespace {

constexpr auto op = [](auto a, auto b) { return matmul(a, b); };
constexpr auto op_nt = [](auto a, auto b) { return matmul_nt(a, b); };
constexpr auto gram = [](auto a) { return matmul_nt(a, a); };
constexpr auto squared = [](auto a) { return matmul(a, a); };

/// Σ_k a[b, i, k] b[b, k, j], or b[b, j, k] if nt.
template <class SA, class SB>
std::vector<double> product(const Argument<SA>& a, const Argument<SB>& b, bool nt) {
  const index_t m = SA::extent(1), k = SA::extent(2), n = nt ? SB::extent(1) : SB::extent(2);
  std::vector<double> y;
  for (index_t s = 0; s < a.shape.batch; ++s)
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) {
        double sum = 0;
        for (index_t l = 0; l < k; ++l) {
          const index_t right = nt ? (s * n + j) * k + l : (s * k + l) * n + j;
          sum += a.values[static_cast<std::size_t>((s * m + i) * k + l)] * b.values[static_cast<std::size_t>(right)];
        }
        y.push_back(sum);
      }
  return y;
}

/// The longest sums are K, M or N long; a sum may cancel to less than its terms, hence a floor of 1.
void each_shape(auto check) {
  check(Accuracy{.terms = 3, .floor = 1}, argument<Shape<dynamic, 1, 3>>(5, 1), argument<Shape<dynamic, 3, 1>>(5, 2));
  check(Accuracy{.terms = 12}, argument<Shape<dynamic, 4, 12>>(2, 3, {.gap = 5}),
        argument<Shape<dynamic, 12, 3>>(2, 4));
  check(Accuracy{.terms = 65}, argument<Shape<dynamic, 65, 3>>(1, 5),
        argument<Shape<dynamic, 3, 64>>(1, 6, {.gap = 64}));
  check(Accuracy{.terms = 130}, argument<Shape<dynamic, 5, 130>>(2, 7), argument<Shape<dynamic, 130, 63>>(2, 8));
}
void each_shape_nt(auto check) {
  check(Accuracy{.terms = 3, .floor = 1}, argument<Shape<dynamic, 1, 3>>(5, 1), argument<Shape<dynamic, 1, 3>>(5, 2));
  check(Accuracy{.terms = 12}, argument<Shape<dynamic, 4, 12>>(2, 3, {.gap = 5}),
        argument<Shape<dynamic, 3, 12>>(2, 4));
  check(Accuracy{.terms = 65}, argument<Shape<dynamic, 65, 3>>(1, 5),
        argument<Shape<dynamic, 64, 3>>(1, 6, {.gap = 64}));
  check(Accuracy{.terms = 130}, argument<Shape<dynamic, 5, 130>>(2, 7), argument<Shape<dynamic, 63, 130>>(2, 8));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const Accuracy& accuracy, const auto& a, const auto& b) {
    agrees_with_formula(
        op, [](const auto& u, const auto& v) { return product(u, v, false); }, accuracy, a, b);
  });
  each_shape_nt([](const Accuracy& accuracy, const auto& a, const auto& b) {
    agrees_with_formula(
        op_nt, [](const auto& u, const auto& v) { return product(u, v, true); }, accuracy, a, b);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const Accuracy&, const auto& a, const auto& b) { matches_finite_differences(op, a, b); });
  each_shape_nt([](const Accuracy&, const auto& a, const auto& b) { matches_finite_differences(op_nt, a, b); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& a, const auto& b) { every_isa_agrees(op, accuracy, a, b); });
  each_shape_nt(
      [](const Accuracy& accuracy, const auto& a, const auto& b) { every_isa_agrees(op_nt, accuracy, a, b); });
}

BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  each_shape([](const Accuracy&, const auto& a, const auto& b) { bf16_agrees(op, 1.1, 1, a, b); });
  each_shape_nt([](const Accuracy&, const auto& a, const auto& b) { bf16_agrees(op_nt, 1.1, 1, a, b); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& a, const auto& b) { accumulates(op, accuracy, a, b); });
  each_shape_nt([](const Accuracy& accuracy, const auto& a, const auto& b) { accumulates(op_nt, accuracy, a, b); });
}

BOOST_AUTO_TEST_CASE(a_value_may_be_both_operands) {
  const auto a = argument<Shape<dynamic, 12, 12>>(2, 9);
  agrees_with_formula(
      gram, [](const auto& u) { return product(u, u, true); }, Accuracy{.terms = 12}, a);
  agrees_with_formula(
      squared, [](const auto& u) { return product(u, u, false); }, Accuracy{.terms = 12}, a);
  matches_finite_differences(gram, a);
  matches_finite_differences(squared, a);
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  ignores_constants(op, argument<Shape<dynamic, 4, 12>>(2, 3), argument<Shape<dynamic, 12, 3>>(2, 4));
  ignores_constants(op_nt, argument<Shape<dynamic, 4, 12>>(2, 3), argument<Shape<dynamic, 3, 12>>(2, 4));
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(op, argument<Shape<dynamic, 65, 64>>(8, 10), argument<Shape<dynamic, 64, 130>>(8, 11));
  same_bits_for_any_thread_count(op, argument<Shape<dynamic, 300, 130>>(1, 10),
                                 argument<Shape<dynamic, 130, 300>>(1, 11));
}

BOOST_AUTO_TEST_CASE(batches_must_agree) {
  const auto a = argument<Shape<dynamic, 4, 12>>(2, 3);
  const auto b = argument<Shape<dynamic, 12, 3>>(3, 4);
  BOOST_CHECK_EXCEPTION(Machine<float>().run(op, {1}, -1, a, b), Error, [](const Error& e) {
    return std::string(e.what()) == "matmul: operands of one batch, expected 2, got 3";
  });
}

BOOST_AUTO_TEST_SUITE_END()
