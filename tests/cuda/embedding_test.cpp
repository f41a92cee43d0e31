// Tests sines and cosines of the GPU's embedding of times against those of long double.
// SPDX-License-Identifier: MIT
#include <sra/core/philox.hpp>
#include <sra/cuda/kernels.cuh>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <limits>

using namespace sra;

namespace {

/// The larger error of both, as a part of 2^-52.
double error(double x) {
  const auto y = gpu::detail::sine_cosine(x);
  const long double exact = x;
  return static_cast<double>(std::max(std::abs(static_cast<long double>(y.sine) - std::sin(exact)),
                                      std::abs(static_cast<long double>(y.cosine) - std::cos(exact)))) *
         0x1p52;
}

}  // namespace

BOOST_AUTO_TEST_CASE(sines_and_cosines_are_as_exact_as_doubles) {
  const Rng rng(3, Purpose::user, 0, 0);
  for (const double range : {1.0, 10.0, 1000.0, 0x1p20}) {
    double worst = 0;
    for (index_t i = 0; i < 100'000; ++i) worst = std::max(worst, error(range * (2 * rng.uniform_double(i) - 1)));
    BOOST_TEST_MESSAGE("up to " << range << ": " << worst << " of the allowed");
    BOOST_TEST(worst <= 1);
  }
}

/// Where the quarter changes, and where a result is nearly zero.
BOOST_AUTO_TEST_CASE(multiples_of_a_quarter_turn_are_no_exception) {
  constexpr double eighth = 0.78539816339744830962;
  double worst = 0;
  for (int i = -4000; i <= 4000; ++i)
    for (const double x : {i * eighth, std::nextafter(i * eighth, 1e9), std::nextafter(i * eighth, -1e9)})
      worst = std::max(worst, error(x));
  BOOST_TEST(worst <= 1);
  BOOST_TEST(gpu::detail::sine_cosine(0).sine == 0);
  BOOST_TEST(gpu::detail::sine_cosine(0).cosine == 1);
}

BOOST_AUTO_TEST_CASE(what_is_not_finite_has_neither) {
  for (const double x : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    BOOST_TEST(std::isnan(gpu::detail::sine_cosine(x).sine));
    BOOST_TEST(std::isnan(gpu::detail::sine_cosine(x).cosine));
  }
}
