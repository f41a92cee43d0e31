// Tests the rules for initial values: bounds, moments, and what a draw depends on.
// SPDX-License-Identifier: MIT
#include <sra/core/error.hpp>
#include <sra/cpu/memory.hpp>
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

/// p as the CPU fills it, behind 64 other numbers.
template <class W, index_t... E, class Rule>
std::vector<W> filled(Param<E...> p, const Rule& rule, int threads = 2) {
  Cpu cpu({.threads = threads});
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, W> context(workspace, {});
  std::vector<W> all(static_cast<std::size_t>(64 + p.size + 1), W(7));
  p.offset = 64;
  sra::init::Values(context, all.data()).fill(p, rule);
  BOOST_TEST(std::count(all.begin(), all.begin() + 64, W(7)) == 64);
  BOOST_TEST(all.back() == W(7));
  return {all.begin() + 64, all.end() - 1};
}

Rng key(const char* name, std::uint64_t seed = 1) {
  return Rng(seed, Purpose::initialise, 0, sra::init::name_key(name));
}

/// The initial values of a matrix.
template <class Init, index_t Out, index_t In>
std::vector<double> drawn(const char* name = "layer", std::uint64_t seed = 1) {
  return filled<double>(Param<Out, In>{}, Init::rule(Out, In, key(name, seed)));
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
  using Init = sra::init::XavierUniform;
  for (const auto& [x, in_and_out] : {std::pair{drawn<Init, 192, 64>(), 256}, {drawn<Init, 64, 256>(), 320}}) {
    const double n = double(x.size()), a = std::sqrt(6.0 / in_and_out);
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
  const auto x = drawn<sra::init::Normal02, 256, 64>();
  const double n = double(x.size()), s = 0.02;
  BOOST_TEST(std::abs(moment(x, 1)) <= 5 * s / std::sqrt(n));
  BOOST_TEST(std::abs(moment(x, 2) - s * s) <= 5 * s * s * std::sqrt(2 / n));
  BOOST_TEST(std::abs(moment(x, 4) - 3 * std::pow(s, 4)) <= 5 * std::pow(s, 4) * std::sqrt(96 / n));
}

BOOST_AUTO_TEST_CASE(zero_and_one_are_exact) {
  for (const double v : drawn<sra::init::Zero, 3, 5>()) BOOST_TEST(v == 0);
  for (const double v : filled<double>(Param<5>{}, sra::init::Constant{1})) BOOST_TEST(v == 1);
}

BOOST_AUTO_TEST_CASE(draws_depend_on_seed_and_name_alone) {
  using Init = sra::init::XavierUniform;
  const auto x = drawn<Init, 8, 8>();
  BOOST_TEST((drawn<Init, 8, 8>() == x));
  BOOST_TEST((drawn<Init, 8, 8>("layer.1") != x));
  BOOST_TEST((drawn<Init, 8, 8>("layer", 2) != x));
  const auto narrow = filled<float>(Param<8, 8>{}, Init::rule(8, 8, key("layer")));
  for (std::size_t i = 0; i < 64; ++i) BOOST_TEST(narrow[i] == static_cast<float>(x[i]));
}

/// More elements than a task of the CPU has, and not a multiple of it.
BOOST_AUTO_TEST_CASE(elements_are_those_of_their_number_for_any_number_of_threads) {
  const Rng rng = key("layer");
  const Param<3, 16'385> p{};
  const auto x = filled<float>(p, sra::init::Normal{0.5, rng}, 1);
  BOOST_TEST((filled<float>(p, sra::init::Normal{0.5, rng}, 3) == x));
  for (const index_t i : {index_t{0}, index_t{16'383}, index_t{16'384}, p.size - 1})
    BOOST_TEST(x[static_cast<std::size_t>(i)] == static_cast<float>(0.5 * rng.normal_double(i)));
}

BOOST_AUTO_TEST_CASE(numbers_of_the_host_are_as_many_as_the_parameter_has) {
  Cpu cpu;
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, float> context(workspace, {});
  std::vector<float> to(3);
  const sra::init::Values values(context, to.data());
  values.set(Param<3>{}, {1, 2, 3});
  BOOST_TEST((to == std::vector<float>{1, 2, 3}));
  BOOST_CHECK_EXCEPTION(values.set(Param<3>{}, {1, 2}), Error, [](const Error& e) {
    return std::string(e.what()) == "initial values: expected 3 numbers, got 2";
  });
}

BOOST_AUTO_TEST_CASE(names_have_keys_of_their_own) {
  std::set<std::uint64_t> keys;
  for (int block = 0; block < 100; ++block)
    for (const char* part : {"attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "adaLN_modulation.1"})
      keys.insert(sra::init::name_key(text("blocks.", block, ".", part)));
  BOOST_TEST(keys.size() == 500u);
}

BOOST_AUTO_TEST_SUITE_END()
