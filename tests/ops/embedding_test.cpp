// Tests the embeddings of labels and of times.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/embedding.hpp>
#include <sra/ops/embedding.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(embedding_op)

namespace {

/// Rows 0 and 3 of five repeat, rows 1 and 4 are never hit.
const std::vector<std::int32_t> labels{3, 0, 3, 2, 3, 0, 3};
View<const std::int32_t, Shape<dynamic>> some_labels(index_t batch) {
  static const Shared<std::int32_t> map(labels.begin(), labels.end());
  return dense(map.data(), Shape<dynamic>{batch});
}

template <index_t B>
constexpr auto op = [](auto table) { return embedding(table.context(), table, some_labels(B)); };
template <index_t B>
constexpr auto rows = [](const auto& table) {
  std::vector<double> y;
  constexpr auto width = decltype(table.shape)::width;
  for (std::size_t b = 0; b < B; ++b)
    for (index_t i = 0; i < width; ++i) y.push_back(table.values[static_cast<std::size_t>(labels[b] * width + i)]);
  return y;
};

/// A table as parameters are, and one with gaps that is not; a row is summed from at most four.
void each_table(auto check) {
  const Accuracy accuracy{.terms = 4, .floor = 1};
  check(op<7>, rows<7>, accuracy, argument<Shape<5, 3>>(1, 1, {.parameter = true}));
  check(op<1>, rows<1>, accuracy, argument<Shape<5, 130>>(1, 2, {.parameter = true}));
  check(op<4>, rows<4>, accuracy, argument<Shape<5, 65>>(1, 3, {.gap = 2}));
}

/// Times as features of width 256.
template <class T>
std::vector<double> features(const std::vector<T>& t) {
  Cpu cpu;
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, T> context(workspace, {});
  const auto view = dense(t.data(), Shape<dynamic>{static_cast<index_t>(t.size())});
  return read(time_features<256>(context, view).value);
}

/// x is within one unit of the last printed digit of a published value.
void expect_published(double x, double published, double unit) { BOOST_TEST(std::abs(x - published) <= unit, x); }

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_table([](auto with, auto formula, const Accuracy&, const auto& table) {
    agrees_with_formula(with, formula, Accuracy{.factor = 0}, table);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_table([](auto with, auto, const Accuracy&, const auto& table) { matches_finite_differences(with, table); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_table(
      [](auto with, auto, const Accuracy& accuracy, const auto& table) { every_isa_agrees(with, accuracy, table); });
}

/// Tables and results are float beside tokens in bf16.
BOOST_AUTO_TEST_CASE(loses_nothing_beside_bf16) {
  // An epsilon of float is 2^-15 of what one rounding to bf16 may be.
  each_table([](auto with, auto, const Accuracy&, const auto& table) { bf16_agrees(with, 0x1p-15, 1, table); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_table([](auto with, auto, const Accuracy& accuracy, const auto& table) { accumulates(with, accuracy, table); });
}

/// The memory of a parameter's gradient is NaN before; a gradient that is overwritten must be zero where no label was.
BOOST_AUTO_TEST_CASE(rows_that_no_label_hits_get_zero_gradient) {
  const Outcome out = Machine<float>().run(op<7>, {1}, -1, argument<Shape<5, 3>>(1, 1, {.parameter = true}));
  for (std::size_t row = 0; row < 5; ++row) {
    const bool hit = std::find(labels.begin(), labels.end(), static_cast<std::int32_t>(row)) != labels.end();
    for (std::size_t i = 0; i < 3; ++i) BOOST_TEST((out.gradients[0][3 * row + i] != 0) == hit, "row " << row);
  }
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  const auto table = argument<Shape<1001, 384>>(1, 1, {.parameter = true});
  same_bits_for_any_thread_count(op<7>, table);
}

BOOST_AUTO_TEST_CASE(times_have_the_published_features) {
  for (const auto& v : {features<float>({0.5f}), features<double>({0.5})}) {
    expect_published(v[0], 0.8775825619, 6e-8);  // half a unit in the last place of a float, and of the frequency
    expect_published(v[1], 0.8936932709, 6e-8);
    expect_published(v[127], 0.9999999986, 6e-8);
    expect_published(v[128], 0.4794255386, 6e-8);
    expect_published(v[129], 0.4486784344, 6e-8);
    expect_published(v[255], 5.37303914e-05, 5.37303914e-05 * 1.2e-6);  // its exponent is a float: ε · 9.1
  }
}

/// sin(t f_k) for a small t is t f_k, so the published frequencies can be read off; they are floats.
BOOST_AUTO_TEST_CASE(frequencies_are_the_published_ones) {
  constexpr double t = 0x1p-20;
  const auto v = features<double>({t});
  const auto frequency = [&](std::size_t k) { return std::asin(v[128 + k]) / t; };
  expect_published(frequency(0), 1, 1e-9);
  expect_published(frequency(1), 0.930572040930, 0.930572040930 * 1.2e-7);
  expect_published(frequency(2), 0.865964323360, 0.865964323360 * 1.2e-7);
  expect_published(frequency(64), 0.01, 0.01 * 1e-6);  // the exponent is a float: ε · 4.6 relative
  expect_published(frequency(127), 1.0746078283e-4, 1.0746078283e-4 * 1.2e-6);  // ε · 9.1
}

/// Cosine first, then sine, each of the float product t f for float times.
BOOST_AUTO_TEST_CASE(every_sample_has_its_own_time) {
  const std::vector<float> t{0.0f, 1.0f, 0.37f};
  const auto v = features<float>(t);
  for (std::size_t b = 0; b < 3; ++b)
    for (std::size_t k = 0; k < 128; ++k) {
      const double f = std::pow(10000.0, -double(k) / 128), allowed = 2e-6;  // 16 ε: of the frequency and the product
      BOOST_TEST(std::abs(v[b * 256 + k] - std::cos(double(t[b]) * f)) <= allowed);
      BOOST_TEST(std::abs(v[b * 256 + 128 + k] - std::sin(double(t[b]) * f)) <= allowed);
    }
}

BOOST_AUTO_TEST_SUITE_END()
