// Tests statistics of numbers, and those that one chunk of the flat buffers adds.
// SPDX-License-Identifier: MIT
#include <sra/backend/statistics.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <vector>

using namespace sra;

namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

Statistics of(const std::vector<double>& x) {
  Statistics s;
  for (const double v : x) s.add(v);
  return s;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(statistics)

BOOST_AUTO_TEST_CASE(are_the_textbooks) {
  const Statistics s = of({2, -4, 4, 6});
  BOOST_TEST(s.count == 4);
  BOOST_TEST(s.non_finite == 0);
  BOOST_TEST(s.min == -4);
  BOOST_TEST(s.max == 6);
  BOOST_TEST(s.mean() == 2);
  BOOST_TEST(s.norm() == std::sqrt(72.0));
  BOOST_TEST(s.rms() == std::sqrt(18.0));
  BOOST_TEST(std::abs(s.deviation() - std::sqrt(14.0)) <= 8 * 0x1p-53 * s.rms());
}

BOOST_AUTO_TEST_CASE(numbers_that_are_not_finite_are_counted_and_left_out) {
  const Statistics s = of({1, infinity, -2, std::nan(""), -infinity});
  BOOST_TEST(s.count == 2);
  BOOST_TEST(s.non_finite == 3);
  BOOST_TEST(s.sum == -1);
  BOOST_TEST(s.squares == 5);
  BOOST_TEST(s.min == -2);
  BOOST_TEST(s.max == 1);
}

BOOST_AUTO_TEST_CASE(of_no_numbers_and_of_one_that_repeats_nothing_deviates) {
  const Statistics none;
  BOOST_TEST(none.norm() == 0);
  BOOST_TEST(none.rms() == 0);
  BOOST_TEST(none.mean() == 0);
  BOOST_TEST(none.deviation() == 0);
  BOOST_TEST(none.min == infinity);
  BOOST_TEST(none.max == -infinity);
  const Statistics same = of(std::vector<double>(1000, 0.1));
  BOOST_TEST(same.deviation() <= same.rms() * 0x1p-26 * std::sqrt(1000.0));
}

BOOST_AUTO_TEST_CASE(two_sets_are_one) {
  Statistics a = of({1, 5, infinity});
  a.add(of({-3, 2}));
  a.add(Statistics{});
  const Statistics all = of({1, 5, infinity, -3, 2});
  BOOST_TEST(a.count == all.count);
  BOOST_TEST(a.non_finite == all.non_finite);
  BOOST_TEST(a.sum == all.sum);
  BOOST_TEST(a.squares == all.squares);
  BOOST_TEST(a.min == -3);
  BOOST_TEST(a.max == 5);
}

/// A parameter of 70 numbers behind another one: two chunks, and padding that must not count.
BOOST_AUTO_TEST_CASE(a_chunk_ends_with_its_parameter) {
  std::vector<float> p(256, std::nanf("")), m(256, 0.5f), v(256, 0.25f), g(256, std::nanf(""));
  for (std::size_t i = 128; i < 198; ++i) p[i] = 2, g[i] = -1;
  UpdatedBuffers<float> buffers{p.data(), m.data(), v.data(), g.data(), {}};
  buffers.numbers.keep = 0.5f;
  buffers.numbers.step = 0.125f;
  buffers.numbers.over_root = 0.5f;
  const ParameterRange range{128, 70, true};
  const ParameterStatistics first = buffers(range, 2), second = buffers(range, 3);
  BOOST_TEST(first.weight.count == 64);
  BOOST_TEST(second.weight.count == 6);
  for (const ParameterStatistics& s : {first, second}) {
    BOOST_TEST(s.weight.non_finite + s.gradient.non_finite + s.update.non_finite == 0);
    BOOST_TEST(s.weight.mean() == 2);
    BOOST_TEST(s.gradient.mean() == -1);
    // p = 2 came from p_before with 2 = 0.5 p_before - 0.125 d, d = 0.5 / (0.5 / 0.5): p_before = 4.125
    BOOST_TEST(s.update.min == 2 - 4.125);
    BOOST_TEST(s.update.max == 2 - 4.125);
  }
  BOOST_TEST(buffers({128, 70, false}, 2).update.count == 64);
  BOOST_TEST(buffers({128, 70, false}, 2).update.squares == 0);
}

BOOST_AUTO_TEST_SUITE_END()
