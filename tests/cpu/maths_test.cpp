// Tests the elementary functions against double precision on every instruction set, and their limits.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"
#include "maths_errors.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>

namespace {

constexpr double infinite = std::numeric_limits<double>::infinity();
constexpr float inf = std::numeric_limits<float>::infinity(), not_a_number = std::numeric_limits<float>::quiet_NaN();

void report(const std::string& name, double error, double allowed) {
  BOOST_TEST_MESSAGE(name << ": error " << error << ", " << error / allowed << " of the allowed");
  BOOST_TEST(error <= allowed);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(maths)

// Some 8,000 numbers of each sign and exponent; scripts/bench cpu/maths goes through all floats.
BOOST_AUTO_TEST_CASE(errors_are_within_those_stated_on_every_instruction_set) {
  sra::Cpu cpu;
  const auto isas = sra::test::maths_isas();
  for (const auto& f : sra::test::maths_functions()) {
    const auto errors = sra::test::maths_errors(cpu, f, 1021);
    for (std::size_t k = 0; k < isas.size(); ++k) {
      const std::string name = std::string(f.name) + ", " + to_string(isas[k]);
      if (f.ulp < infinite) report(name + ", ulp", errors[k].ulp.error, f.ulp);
      if (f.absolute < infinite) report(name + ", relative to max(|f|, 1)", errors[k].absolute.error, f.absolute);
    }
  }
}

BOOST_AUTO_TEST_CASE(exp2_has_the_right_limits) {
  const auto exp2 = [](float x) { return sra::maths::exp2_up_to_127(x); };
  BOOST_TEST(exp2(-126.5f) == 0);
  BOOST_TEST(exp2(-1e30f) == 0);
  BOOST_TEST(exp2(-inf) == 0);
  BOOST_TEST(std::isnan(exp2(not_a_number)));
}

BOOST_AUTO_TEST_CASE(exp_has_the_right_limits) {
  BOOST_TEST(sra::maths::exp(0.0f) == 1.0f);
  BOOST_TEST(sra::maths::exp(-0.0f) == 1.0f);
  BOOST_TEST(sra::maths::exp(88.7228f) > 3.40e38f);
  BOOST_TEST(std::isfinite(sra::maths::exp(88.7228f)));
  for (const float x : {88.73f, 89.0f, 90.0f, 1e10f, 3e38f, inf}) BOOST_TEST(sra::maths::exp(x) == inf);
  for (const float x : {-104.0f, -105.5f, -1e10f, -3e38f, -inf}) BOOST_TEST(sra::maths::exp(x) == 0.0f);
  BOOST_TEST(sra::maths::exp(-103.0f) > 0.0f);
  BOOST_TEST(std::isnan(sra::maths::exp(not_a_number)));
  BOOST_TEST(std::isnan(sra::maths::exp(-not_a_number)));
}

BOOST_AUTO_TEST_CASE(tanh_and_sigmoid_have_the_right_limits) {
  BOOST_TEST(sra::maths::tanh(inf) == 1.0f);
  BOOST_TEST(sra::maths::tanh(-inf) == -1.0f);
  BOOST_TEST(std::signbit(sra::maths::tanh(-0.0f)));
  BOOST_TEST(std::isnan(sra::maths::tanh(not_a_number)));
  BOOST_TEST(sra::maths::sigmoid(inf) == 1.0f);
  BOOST_TEST(sra::maths::sigmoid(-inf) == 0.0f);
  BOOST_TEST(std::isnan(sra::maths::sigmoid(not_a_number)));
  for (const float x : {inf, -inf, 1e30f, -1e30f}) {
    BOOST_TEST(sra::maths::tanh_slope(x) == 0.0f);
    BOOST_TEST(sra::maths::sigmoid_slope(x) == 0.0f);
  }
}

BOOST_AUTO_TEST_CASE(gelu_and_silu_have_the_right_limits) {
  const auto expect = [](auto f, auto slope) {
    BOOST_TEST(f(inf) == inf);
    BOOST_TEST(f(1e30f) == 1e30f);
    BOOST_TEST(f(-1e30f) == 0.0f);
    BOOST_TEST(std::signbit(f(-0.0f)));
    BOOST_TEST(std::isnan(f(-inf)));
    BOOST_TEST(std::isnan(f(not_a_number)));
    BOOST_TEST(slope(1e30f) == 1.0f);
    BOOST_TEST(slope(-1e30f) == 0.0f);
    BOOST_TEST(std::isnan(slope(not_a_number)));
  };
  expect([](float x) { return sra::maths::gelu(x); }, [](float x) { return sra::maths::gelu_slope(x); });
  expect([](float x) { return sra::maths::silu(x); }, [](float x) { return sra::maths::silu_slope(x); });
}

// Central differences: h^2 / 6 times the third derivative, which is below 2, and epsilon / h.
BOOST_AUTO_TEST_CASE(slopes_in_double_are_those_of_the_functions) {
  const auto expect = [](const char* name, auto f, auto slope) {
    double worst = 0;
    for (double x = -8; x < 8; x += 0.01) {
      constexpr double h = 1e-5;
      worst = worse(worst, std::abs((f(x + h) - f(x - h)) / (2 * h) - slope(x)));
    }
    report(name, worst, 2 * 1e-10 / 6 + 10 * 2.3e-16 / 1e-5);
  };
  namespace maths = sra::maths;
  expect("gelu", maths::gelu<double>, maths::gelu_slope<double>);
  expect("silu", maths::silu<double>, maths::silu_slope<double>);
  expect("tanh", maths::tanh<double>, maths::tanh_slope<double>);
  expect("sigmoid", maths::sigmoid<double>, maths::sigmoid_slope<double>);
}

BOOST_AUTO_TEST_CASE(sqrt_in_double_is_within_the_stated_error) {
  double worst = 0;
  for (double x = 1e-300; x < 1e300; x *= 1.0001)
    worst = worse(worst, std::abs(sra::maths::sqrt(x) / std::sqrt(x) - 1));
  report("sqrt in double", worst, 2.3e-16);
  BOOST_TEST(sra::maths::sqrt(0.0f) == 0.0f);
}

BOOST_AUTO_TEST_SUITE_END()
