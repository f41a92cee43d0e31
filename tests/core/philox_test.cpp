// Checks Philox against published answers and Random123, and the draws against their distributions and exact values.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"
#include "philox_draws.hpp"

#include <sra/core/philox.hpp>

#include <Random123/philox.h>
#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <initializer_list>
#include <set>
#include <type_traits>
#include <vector>

#undef philox4x32  // Random123 defines a macro of this name

namespace {

using sra::index_t;
using sra::Purpose;
using sra::Rng;

constexpr int samples = 1 << 20;

static_assert(std::is_trivially_copyable_v<Rng>);
static_assert(sra::philox({{0, 0, 0, 0}}, 0, 0).word[0] == 0x6627e8d5u, "usable in constant expressions");

std::vector<double> normals(Rng rng) {
  std::vector<double> x(samples);
  sra::fill_normal(rng, x.data(), samples);
  return x;
}

std::vector<double> uniforms(Rng rng) {
  std::vector<double> x(samples);
  sra::fill_uniform(rng, x.data(), samples);
  return x;
}

// Kolmogorov and Smirnov: P(sqrt(n) D > 2.5) = 2 exp(−2 · 2.5²) = 7e-6.
double smirnov(std::vector<double> x, double (*cumulative)(double)) {
  std::sort(x.begin(), x.end());
  double worst = 0;
  const auto n = static_cast<double>(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double f = cumulative(x[i]), at = static_cast<double>(i);
    worst = std::max({worst, f - at / n, (at + 1) / n - f});
  }
  return worst * std::sqrt(n);
}

// The correlation of independent numbers has a standard deviation of 1 / sqrt(n); returned in that unit.
double correlation(const std::vector<double>& x, const std::vector<double>& y) {
  double xy = 0, xx = 0, yy = 0;
  for (std::size_t i = 0; i < x.size(); ++i) xy += x[i] * y[i], xx += x[i] * x[i], yy += y[i] * y[i];
  return xy / std::sqrt(xx * yy) * std::sqrt(static_cast<double>(x.size()));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(philox)

BOOST_AUTO_TEST_CASE(gives_the_published_known_answers) {
  struct Known {
    std::array<std::uint32_t, 4> counter;
    std::array<std::uint32_t, 2> key;
    std::array<std::uint32_t, 4> answer;
  };
  constexpr std::uint32_t all = 0xffffffffu;
  const Known known[] = {
      {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
      {{all, all, all, all}, {all, all}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
      {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
       {0xa4093822, 0x299f31d0},
       {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
  };
  for (const auto& [c, k, answer] : known) {
    const auto got = sra::philox({{c[0], c[1], c[2], c[3]}}, k[0], k[1]);
    BOOST_TEST(got.word == answer, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(agrees_with_random123) {
  const Rng rng(1, Purpose::user, 0, 0);
  for (int i = 0; i < 1000; ++i) {
    std::uint32_t w[6];
    for (int j = 0; j < 6; ++j) w[j] = rng.bits(6 * i + j);
    const philox4x32_ctr_t counter = {{w[0], w[1], w[2], w[3]}};
    const philox4x32_key_t key = {{w[4], w[5]}};
    const philox4x32_ctr_t want = philox4x32_R(10, counter, key);
    const auto got = sra::philox({{w[0], w[1], w[2], w[3]}}, w[4], w[5]);
    BOOST_TEST(got.word == want.v, boost::test_tools::per_element());
  }
}

// philox_bits.sh has the compilers and flags.
BOOST_AUTO_TEST_CASE(draws_are_the_same_bits_for_every_compiler_and_flag) {
  BOOST_TEST(sra::test::hash_of_draws() == sra::test::hash_of_draws_expected);
}

BOOST_AUTO_TEST_CASE(filling_is_drawing_one_by_one) {
  const Rng rng(3, Purpose::initialise, 1, 2);
  for (index_t n : {0, 1, 2, 3, 4, 5, 7, 8, 63}) {
    std::vector<float> x(static_cast<std::size_t>(n) + 1, -9.0f), u = x;
    std::vector<double> xd(x.begin(), x.end());
    sra::fill_normal(rng, x.data(), n);
    sra::fill_normal(rng, xd.data(), n);
    sra::fill_uniform(rng, u.data(), n);
    for (index_t i = 0; i < n; ++i) {
      const auto at = static_cast<std::size_t>(i);
      BOOST_TEST((x[at] == rng.normal(i) && xd[at] == rng.normal_double(i) && u[at] == rng.uniform(i)));
    }
    BOOST_TEST((x.back() == -9.0f && xd.back() == -9.0 && u.back() == -9.0f));  // nothing behind the end is written
  }
}

BOOST_AUTO_TEST_CASE(normals_are_exact_to_six_tenths_of_an_ulp) {
  const Rng rng(5, Purpose::user, 0, 0);
  std::vector<std::uint32_t> words = {0,          1,          2,          0x7fffffff, 0x80000000,
                                      0xfffffffe, 0xffffffff, 0x3fffffff, 0x40000000, 0x1fffffff,
                                      0x20000000, 0xb504f333, 0xb504f334, 0x5a827999};
  for (int i = 0; i < 500; ++i) words.push_back(rng.bits(i));
  double worst = 0;
  for (const auto w0 : words)
    for (const auto w1 : words) {
      const long double pi = 3.14159265358979323846264338327950288L;
      const long double radius = std::sqrt(-2 * std::log((2.0L * w0 + 1) / 8589934592.0L));
      const long double low = static_cast<std::int32_t>(w1 << 2) >> 2, turn = (2 * low + 1) * pi / 4294967296.0L;
      const auto check = [&](float got, long double sine_or_cosine_at_turn) {
        const long double want = radius * sine_or_cosine_at_turn;
        const float size = std::fabs(static_cast<float>(want));
        const float ulp = std::nextafter(size, 1e30f) - size;
        worst = worse(worst, static_cast<double>(std::fabs(static_cast<long double>(got) - want) / ulp));
      };
      const auto pair = sra::detail::normal_pair(w0, w1);
      const long double c = std::cos(turn), s = std::sin(turn);
      const long double u[4] = {c, -s, -c, s}, v[4] = {s, c, -s, -c};  // after 0, 1, 2, 3 quarter turns
      check(pair.first, u[w1 >> 30]);
      check(pair.second, v[w1 >> 30]);
    }
  BOOST_TEST(worst < 0.6);
}

BOOST_AUTO_TEST_CASE(normals_are_normal) {
  const auto x = normals(Rng(11, Purpose::noise, 0, 0));
  double m1 = 0, m2 = 0, m3 = 0, m4 = 0;
  for (const double a : x) m1 += a, m2 += a * a, m3 += a * a * a, m4 += a * a * a * a;
  const double n = samples;  // standard deviations of the moments: sqrt(1, 2, 15, 96) / sqrt(n); five of them allowed
  BOOST_TEST(std::fabs(m1 / n) < 5 / std::sqrt(n));
  BOOST_TEST(std::fabs(m2 / n - 1) < 5 * std::sqrt(2 / n));
  BOOST_TEST(std::fabs(m3 / n) < 5 * std::sqrt(15 / n));
  BOOST_TEST(std::fabs(m4 / n - 3) < 5 * std::sqrt(96 / n));
  BOOST_TEST(smirnov(x, [](double a) { return std::erfc(-a / std::sqrt(2.0)) / 2; }) < 2.5);
}

BOOST_AUTO_TEST_CASE(uniforms_are_uniform) {
  const auto x = uniforms(Rng(12, Purpose::time, 0, 0));
  double sum = 0, square = 0;
  for (const double a : x) sum += a - 0.5, square += (a - 0.5) * (a - 0.5);
  const double n = samples;
  BOOST_TEST(std::fabs(sum / n) < 5 * std::sqrt(1 / (12 * n)));
  BOOST_TEST(std::fabs(square / n - 1.0 / 12) < 5 * std::sqrt(1 / (180 * n)));  // variance of (u − 1/2)² is 1/180
  BOOST_TEST(smirnov(x, [](double a) { return a; }) < 2.5);
  BOOST_TEST((*std::min_element(x.begin(), x.end()) >= 0 && *std::max_element(x.begin(), x.end()) < 1));
}

BOOST_AUTO_TEST_CASE(a_double_uniform_refines_the_float_one) {
  const Rng rng(13, Purpose::time, 0, 0);
  bool refined = false;
  for (int i = 0; i < 1000; ++i) {
    const double d = rng.uniform_double(i) - static_cast<double>(rng.uniform(i));
    BOOST_TEST((d >= 0 && d < 0x1p-24));
    refined = refined || d > 0;
  }
  BOOST_TEST(refined);
}

BOOST_AUTO_TEST_CASE(neighbours_in_every_coordinate_are_independent) {
  const auto x = normals(Rng(1, Purpose::noise, 5, 9));
  const Rng others[] = {Rng(2, Purpose::noise, 5, 9), Rng(1, Purpose::user, 5, 9), Rng(1, Purpose::noise, 6, 9),
                        Rng(1, Purpose::noise, 5, 10), Rng(1, Purpose::noise, 9, 5)};
  for (const auto& rng : others) BOOST_TEST(std::fabs(correlation(x, normals(rng))) < 5);
  for (std::size_t lag = 1; lag <= 4; ++lag) {
    const std::vector<double> head(x.begin(), x.end() - 4),
        tail(x.begin() + static_cast<std::ptrdiff_t>(lag), x.end() - 4 + static_cast<std::ptrdiff_t>(lag));
    BOOST_TEST(std::fabs(correlation(head, tail)) < 5);
  }
  std::vector<double> squares = x, shifted(x.begin() + 1, x.end());  // both numbers of a pair share their radius
  squares.pop_back();
  for (auto& a : squares) a = a * a - 1;
  for (auto& a : shifted) a = a * a - 1;
  BOOST_TEST(std::fabs(correlation(squares, shifted)) < 5);
}

BOOST_AUTO_TEST_CASE(below_covers_its_range_evenly) {
  const Rng rng(14, Purpose::label, 0, 0);
  for (const index_t n : {1, 2, 3, 7, 10, 1000}) {
    std::vector<double> count(static_cast<std::size_t>(n));
    const int draws = 200000;
    for (int i = 0; i < draws; ++i) {
      const index_t k = rng.below(n, i);
      BOOST_REQUIRE((k >= 0 && k < n));
      ++count[static_cast<std::size_t>(k)];
    }
    const double want = draws / static_cast<double>(n), freedom = static_cast<double>(n - 1);
    double chi = 0;
    for (const double c : count) chi += (c - want) * (c - want) / want;
    BOOST_TEST(chi <= freedom + 5 * std::sqrt(2 * freedom) + 25);  // mean and deviation of χ², and its skewed tail
  }
  const index_t big = index_t{1} << 62;
  double sum = 0;
  for (int i = 0; i < 10000; ++i) sum += static_cast<double>(rng.below(big, i)) / static_cast<double>(big) - 0.5;
  BOOST_TEST(std::fabs(sum / 10000) < 5 * std::sqrt(1 / (12 * 10000.0)));
}

BOOST_AUTO_TEST_CASE(multiply_high_agrees_with_128_bit_products) {
  __extension__ using Wide = unsigned __int128;
  const Rng rng(15, Purpose::user, 0, 0);
  for (int i = 0; i < 1000; ++i) {
    const std::uint64_t a = rng.bits64(2 * i) | (i % 3 == 0 ? 0xffffffff00000000u : 0), b = rng.bits64(2 * i + 1);
    BOOST_TEST(sra::detail::multiply_high(a, b) == static_cast<std::uint64_t>((Wide{a} * b) >> 64));
  }
}

BOOST_AUTO_TEST_CASE(families_of_draws_share_no_words) {
  const Rng rng(16, Purpose::user, 0, 0);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 1000; ++i) seen.insert(rng.bits(2 * i) | (std::uint64_t{rng.bits(2 * i + 1)} << 32));
  for (int i = 0; i < 1000; ++i) BOOST_TEST(seen.count(rng.bits64(i)) == 0u);
}

BOOST_AUTO_TEST_CASE(a_stream_is_the_elements_in_order) {
  const Rng rng(17, Purpose::data, 0, 3);
  sra::Stream stream(rng);
  BOOST_TEST(stream.uniform() == rng.uniform(0));
  BOOST_TEST(stream.normal() == rng.normal(1));
  BOOST_TEST(stream.below(10) == rng.below(10, 2));
  const float u = stream.uniform(-2.0f, 3.0f);
  BOOST_TEST(u == static_cast<float>(-2.0 + 5.0 * static_cast<double>(rng.uniform(3))));
}

BOOST_AUTO_TEST_SUITE_END()
