// Tests the elementary functions over dense sweeps of all floats, against double precision.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE maths
#define BOOST_TEST_DYN_LINK
#include "../worst_error.hpp"

#include <sra/expr/maths.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr double tiny = 1.1754943508222875e-38;  // the smallest normal float

/// Calls f(x) for every 641st float of both signs with |x| <= limit.
template <class F>
void sweep(float limit, F f) {
  for (std::uint32_t bits = 0; bits <= std::bit_cast<std::uint32_t>(limit); bits += 641) {
    f(std::bit_cast<float>(bits));
    f(-std::bit_cast<float>(bits));
  }
}

/// The largest error of approximate(x) relative to exact(x), counted relative to at least `floor`.
template <class A, class E>
double largest_error(float limit, double floor, A approximate, E exact) {
  double worst = 0;
  sweep(limit, [&](float x) {
    const double e = exact(static_cast<double>(x));
    const double error = std::abs(static_cast<double>(approximate(x)) - e) / std::max(std::abs(e), floor);
    if (!(error <= worst)) worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : error;
  });
  return worst;
}

double gelu_sigmoid(double x) { return 1 / (1 + std::exp(-1.5957691216057308 * (x + 0.044715 * x * x * x))); }

void report(const char* name, double error, double allowed) {
  BOOST_TEST_MESSAGE(name << ": error " << error << ", " << error / allowed << " of the allowed");
  BOOST_TEST(error <= allowed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(maths)

BOOST_AUTO_TEST_CASE(exp_is_within_the_stated_error) {
  report("exp",
         largest_error(
             87.0f, tiny, [](float x) { return sra::maths::exp(x); }, [](double x) { return std::exp(x); }),
         1.2e-7);
  double worst = 0;  // in units of the smallest subnormal, where results are not normal numbers
  for (float x = -87.4f; x > -110; x -= 0.0003f)
    worst =
        worse(worst, std::abs(static_cast<double>(sra::maths::exp(x)) - std::exp(static_cast<double>(x))) / 0x1p-149);
  report("exp of large negative numbers", worst, 1.0);
}

BOOST_AUTO_TEST_CASE(exp2_is_within_the_stated_error) {
  const auto exp2 = [](float x) { return sra::maths::exp2_up_to_127(x); };
  report("exp2", largest_error(126.0f, tiny, exp2, [](double x) { return std::exp2(x); }), 1.2e-7);
  BOOST_TEST(exp2(127.4f) < infinite);
  BOOST_TEST(exp2(-126.5f) == 0);
  BOOST_TEST(exp2(-1e30f) == 0);
  BOOST_TEST(exp2(-static_cast<float>(infinite)) == 0);
  BOOST_TEST(std::isnan(exp2(not_a_number)));
}

BOOST_AUTO_TEST_CASE(exp_has_the_right_limits) {
  BOOST_TEST(sra::maths::exp(0.0f) == 1.0f);
  BOOST_TEST(sra::maths::exp(-0.0f) == 1.0f);
  BOOST_TEST(sra::maths::exp(88.7228f) > 3.40e38f);
  BOOST_TEST(std::isfinite(sra::maths::exp(88.7228f)));
  for (const float x : {88.73f, 89.0f, 90.0f, 1e10f, 3e38f, static_cast<float>(infinite)})
    BOOST_TEST(sra::maths::exp(x) == static_cast<float>(infinite));
  for (const float x : {-104.0f, -105.5f, -1e10f, -3e38f, -static_cast<float>(infinite)})
    BOOST_TEST(sra::maths::exp(x) == 0.0f);
  BOOST_TEST(sra::maths::exp(-103.0f) > 0.0f);
  BOOST_TEST(std::isnan(sra::maths::exp(not_a_number)));
  BOOST_TEST(std::isnan(sra::maths::exp(-not_a_number)));
}

BOOST_AUTO_TEST_CASE(tanh_is_within_the_stated_error) {
  report("tanh",
         largest_error(
             100.0f, tiny, [](float x) { return sra::maths::tanh(x); }, [](double x) { return std::tanh(x); }),
         3e-7);
  BOOST_TEST(sra::maths::tanh(static_cast<float>(infinite)) == 1.0f);
  BOOST_TEST(sra::maths::tanh(-static_cast<float>(infinite)) == -1.0f);
  BOOST_TEST(std::signbit(sra::maths::tanh(-0.0f)));
  BOOST_TEST(std::isnan(sra::maths::tanh(not_a_number)));
}

BOOST_AUTO_TEST_CASE(sigmoid_is_within_the_stated_error) {
  report(
      "sigmoid",
      largest_error(
          87.0f, tiny, [](float x) { return sra::maths::sigmoid(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }),
      3e-7);
  BOOST_TEST(sra::maths::sigmoid(static_cast<float>(infinite)) == 1.0f);
  BOOST_TEST(sra::maths::sigmoid(-static_cast<float>(infinite)) == 0.0f);
  BOOST_TEST(std::isnan(sra::maths::sigmoid(not_a_number)));
}

BOOST_AUTO_TEST_CASE(gelu_is_within_the_stated_error) {
  const double absolute = largest_error(
      1e6f, 1.0, [](float x) { return sra::maths::gelu(x); }, [](double x) { return x * gelu_sigmoid(x); });
  report("gelu", absolute, 3e-7);
  report("gelu of |x| < 1",
         largest_error(
             1.0f, tiny, [](float x) { return sra::maths::gelu(x); }, [](double x) { return x * gelu_sigmoid(x); }),
         5e-7);
  BOOST_TEST(sra::maths::gelu(1e30f) == 1e30f);
  BOOST_TEST(sra::maths::gelu(-1e30f) == 0.0f);
  BOOST_TEST(std::isnan(sra::maths::gelu(not_a_number)));
}

BOOST_AUTO_TEST_CASE(slope_of_gelu_is_within_the_stated_error) {
  const auto exact = [](double x) {
    if (std::abs(x) > 30) return x > 0 ? 1.0 : 0.0;
    const double s = gelu_sigmoid(x);
    return s + x * s * (1 - s) * 1.5957691216057308 * (1 + 3 * 0.044715 * x * x);
  };
  report("slope of gelu",
         largest_error(
             3e38f, 1.0, [](float x) { return sra::maths::gelu_slope(x); }, exact),
         4e-7);
  BOOST_TEST(std::isnan(sra::maths::gelu_slope(not_a_number)));
  double worst = 0;  // the double form, against central differences: h^2 / 6 |f'''| + epsilon / h with |f'''| < 2
  for (double x = -8; x < 8; x += 0.01) {
    constexpr double h = 1e-5;
    worst = std::max(
        worst, std::abs((sra::maths::gelu(x + h) - sra::maths::gelu(x - h)) / (2 * h) - sra::maths::gelu_slope(x)));
  }
  report("slope of gelu in double", worst, 2 * 1e-10 / 6 + 10 * 2.3e-16 / 1e-5);
}

BOOST_AUTO_TEST_CASE(sqrt_is_within_the_stated_error) {
  double worst = 0;
  for (std::uint32_t bits = 0x00800000u; bits < 0x7f800000u; bits += 97) {  // all normal numbers > 0
    const float x = std::bit_cast<float>(bits);
    worst = worse(worst, std::abs(static_cast<double>(sra::maths::sqrt(x)) / std::sqrt(static_cast<double>(x)) - 1));
  }
  report("sqrt", worst, 1.2e-7);
  worst = 0;
  for (double x = 1e-300; x < 1e300; x *= 1.0001)
    worst = worse(worst, std::abs(sra::maths::sqrt(x) / std::sqrt(x) - 1));
  report("sqrt in double", worst, 2.3e-16);
  BOOST_TEST(sra::maths::sqrt(0.0f) == 0.0f);
}

BOOST_AUTO_TEST_SUITE_END()
