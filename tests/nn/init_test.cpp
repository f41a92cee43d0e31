// Tests the rules for initial values: bounds, moments, and what a draw depends on.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE init
#define BOOST_TEST_DYN_LINK
#include <sra/core/error.hpp>
#include <sra/nn/init.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

using namespace sra;

namespace {

template <class Rule>
std::vector<double> drawn(index_t out, index_t in, const char* name = "layer", std::uint64_t seed = 1) {
  std::vector<double> values(static_cast<std::size_t>(out * in));
  Rule::fill(values.data(), out * in, out, in, Rng(seed, Purpose::initialise, 0, init::name_key(name)));
  return values;
}

double moment(const std::vector<double>& x, int power) {
  double sum = 0;
  for (const double v : x) sum += std::pow(v, power);
  return sum / double(x.size());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(init)

/// U(−a, a) has E x² = a²/3 with deviation a² √(4/45 / n), mean 0 with deviation a / √(3 n); five deviations are
/// allowed.  |x| stays below a (1 − 20/n) everywhere with probability e^-20.
BOOST_AUTO_TEST_CASE(xavier_has_its_bound_and_its_variance) {
  for (const auto& [out, in] : {std::pair<index_t, index_t>{192, 64}, {64, 256}}) {
    const auto x = drawn<sra::init::XavierUniform>(out, in);
    const double n = double(x.size()), a = std::sqrt(6.0 / double(in + out));
    const auto [low, high] = std::minmax_element(x.begin(), x.end());
    BOOST_TEST(*low >= -a);
    BOOST_TEST(*high < a);
    BOOST_TEST(std::max(-*low, *high) >= a * (1 - 20 / n));
    BOOST_TEST(std::abs(moment(x, 1)) <= 5 * a / std::sqrt(3 * n));
    BOOST_TEST(std::abs(moment(x, 2) - a * a / 3) <= 5 * a * a * std::sqrt(4 / (45 * n)));
  }
}

/// E x² = σ² with deviation σ² √(2/n), E x⁴ = 3 σ⁴ with deviation σ⁴ √(96/n).
BOOST_AUTO_TEST_CASE(normal_has_deviation_0_02) {
  const auto x = drawn<sra::init::Normal02>(256, 64);
  const double n = double(x.size()), s = 0.02;
  BOOST_TEST(std::abs(moment(x, 1)) <= 5 * s / std::sqrt(n));
  BOOST_TEST(std::abs(moment(x, 2) - s * s) <= 5 * s * s * std::sqrt(2 / n));
  BOOST_TEST(std::abs(moment(x, 4) - 3 * std::pow(s, 4)) <= 5 * std::pow(s, 4) * std::sqrt(96 / n));
}

BOOST_AUTO_TEST_CASE(zero_and_one_are_exact) {
  for (const double v : drawn<sra::init::Zero>(3, 5)) BOOST_TEST(v == 0);
  for (const double v : drawn<sra::init::One>(3, 5)) BOOST_TEST(v == 1);
}

BOOST_AUTO_TEST_CASE(draws_depend_on_seed_and_name_alone) {
  const auto x = drawn<sra::init::XavierUniform>(8, 8);
  BOOST_TEST((drawn<sra::init::XavierUniform>(8, 8) == x));
  BOOST_TEST((drawn<sra::init::XavierUniform>(8, 8, "layer.1") != x));
  BOOST_TEST((drawn<sra::init::XavierUniform>(8, 8, "layer", 2) != x));
  std::vector<float> narrow(64);
  sra::init::XavierUniform::fill(narrow.data(), 64, 8, 8, Rng(1, Purpose::initialise, 0, sra::init::name_key("layer")));
  for (std::size_t i = 0; i < 64; ++i) BOOST_TEST(narrow[i] == static_cast<float>(x[i]));
}

BOOST_AUTO_TEST_CASE(names_have_keys_of_their_own) {
  std::set<std::uint64_t> keys;
  for (int block = 0; block < 100; ++block)
    for (const char* part : {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "adaLN_modulation.1"})
      keys.insert(sra::init::name_key(text("blocks.", block, ".", part)));
  BOOST_TEST(keys.size() == 500u);
}

BOOST_AUTO_TEST_SUITE_END()
