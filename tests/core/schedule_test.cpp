// Checks schedules against their formulas and the authors' figures.
// SPDX-License-Identifier: MIT
#include <sra/core/schedule.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <type_traits>

namespace {

using sra::Progress;

// Figures are given with six digits: half of the last one is what they may be off by.
const auto six_digits = boost::test_tools::tolerance(1e-5);
const auto exact = boost::test_tools::tolerance(1e-15);

Progress epoch(sra::index_t e) { return {.step = 1000 * e, .steps = 1'000'000, .epoch = e}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(schedule)

BOOST_AUTO_TEST_CASE(a_constant_stays) {
  const sra::Schedule s = sra::constant(0.3);
  BOOST_TEST(s({}) == 0.3);
  BOOST_TEST(s({.step = 1'000'000, .steps = 10, .epoch = 7}) == 0.3);
}

BOOST_AUTO_TEST_CASE(warm_up_rises_in_equal_steps_and_ends_at_the_value) {
  const sra::Schedule s = sra::warmup(2.0, 4);
  for (int step = 0; step < 4; ++step) BOOST_TEST(s({.step = step}) == 0.5 * (step + 1), exact);
  BOOST_TEST(s({.step = 4}) == 2.0);
  BOOST_TEST(s({.step = 400}) == 2.0);
  BOOST_TEST(sra::warmup(2.0, 0)({}) == 2.0);
}

BOOST_AUTO_TEST_CASE(half_a_cosine_follows_the_warm_up_and_ends_at_the_last_value) {
  const sra::Schedule s = sra::warmup_cosine(2.0, 10, 0.5);
  const auto at = [&](sra::index_t step) { return s({.step = step, .steps = 110}); };
  BOOST_TEST(at(0) == 0.2, exact);
  BOOST_TEST(at(9) == 2.0, exact);
  BOOST_TEST(at(10) == 2.0, exact);
  BOOST_TEST(at(60) == 1.25, exact);
  BOOST_TEST(at(35) == 0.5 + 1.5 * (1 + std::sqrt(0.5)) / 2, exact);
  BOOST_TEST(at(110) == 0.5, exact);
  BOOST_TEST(at(500) == 0.5, exact);
  BOOST_TEST(sra::warmup_cosine(2.0, 0)({.step = 5, .steps = 10}) == 1.0, exact);
}

BOOST_AUTO_TEST_CASE(the_authors_weights_have_the_authors_figures) {
  const sra::Schedule s = sra::authors_256(), wide = sra::authors_512(), dit = sra::authors_256(0.4);
  BOOST_TEST(s(epoch(0)) == 0.2, exact);
  BOOST_TEST(s(epoch(149)) == 0.2, exact);
  BOOST_TEST(s(epoch(150)) == 0.2 * std::pow(10.0, -0.001), exact);
  BOOST_TEST(s(epoch(200)) == 0.17784, six_digits);
  BOOST_TEST(s(epoch(399)) == 0.112468, six_digits);
  BOOST_TEST(s(epoch(799)) == 0.044774, boost::test_tools::tolerance(2e-5));
  BOOST_TEST(wide(epoch(99)) == 0.2, exact);
  BOOST_TEST(wide(epoch(100)) == 0.199425, six_digits);
  BOOST_TEST(wide(epoch(399)) == 0.084339, six_digits);
  BOOST_TEST(dit(epoch(149)) == 0.04, exact);
  BOOST_TEST(dit(epoch(799)) == 0.008955, boost::test_tools::tolerance(6e-5));
}

BOOST_AUTO_TEST_CASE(any_small_function_of_progress_is_a_schedule) {
  const double slope = 0.25;
  const sra::Schedule s = [slope](const Progress& p) { return slope * p.fraction(); };
  BOOST_TEST(s({.step = 5, .steps = 10}) == 0.125);
  BOOST_TEST(s({.step = 5}) == 0.0);  // open-ended
  const sra::Schedule copy = s;
  BOOST_TEST(copy({.step = 10, .steps = 10}) == 0.25);
  static_assert(std::is_trivially_copyable_v<sra::Schedule> && sizeof(sra::Schedule) <= 64);
}

BOOST_AUTO_TEST_SUITE_END()
