// Tests the norm and the one-pass update against AdamW written out in double, element by element.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"

#include <sra/cpu/update.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using sra::Cpu, sra::index_t;
using sra::UpdateArgs, sra::backend::Isa;

std::size_t size_of(index_t n) { return static_cast<std::size_t>(n); }

template <class W>
std::vector<W> random(index_t n, double size, unsigned seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<double> normal(0, size);
  std::vector<W> x(size_of(n));
  for (W& value : x) value = static_cast<W>(normal(generator));
  return x;
}

static_assert(std::is_trivially_copyable_v<UpdateArgs<float, sra::bf16>>, "kernels take it by value");

/// Flat buffers of n elements, two moving averages, and the settings of one step.
template <class W>
struct State {
  std::vector<W> p, m, v, g;
  std::array<std::vector<W>, 2> averages;
  std::array<W, 2> decay{W(0.9999), W(0.5)};
  W lr = W(3e-3);
  sra::AdamW<W> settings{W(0.9), W(0.95), W(1e-8), W(0.1)};

  explicit State(index_t n)
      : p(random<W>(n, 0.3, 1)),
        m(size_of(n), W(0)),
        v(size_of(n), W(0)),
        g(random<W>(n, 1e-2, 2)),
        averages{p, random<W>(n, 0.3, 3)} {}

  UpdateArgs<W> args(index_t step, W clip = W(0.37)) {
    UpdateArgs<W> a{.first = 0, .count = static_cast<index_t>(p.size())};
    a.master = p.data(), a.m = m.data(), a.v = v.data(), a.gradient = g.data();
    a.emas = 2;
    for (std::size_t i = 0; i < 2; ++i) a.ema[i] = averages[i].data(), a.ema_decay[i] = decay[i];
    a.clip_scale = clip, a.lr = lr, a.settings = settings;
    a.bias_correction1 = sra::bias_correction(settings.beta1, step);
    a.bias_correction2 = sra::bias_correction(settings.beta2, step);
    return a;
  }
};

/// torch.optim.AdamW, line by line, then ema.mul_(decay).add_(p, alpha = 1 - decay).
template <class W>
void definition(State<double>& s, const State<W>& from, index_t step, double clip) {
  const double lr = from.lr, beta1 = from.settings.beta1, beta2 = from.settings.beta2;
  for (std::size_t i = 0; i < s.p.size(); ++i) {
    const double g = s.g[i] * clip;
    s.p[i] -= lr * from.settings.weight_decay * s.p[i];
    s.m[i] = beta1 * s.m[i] + (1 - beta1) * g;
    s.v[i] = beta2 * s.v[i] + (1 - beta2) * g * g;
    const double correction1 = 1 - std::pow(beta1, static_cast<double>(step)),
                 correction2 = 1 - std::pow(beta2, static_cast<double>(step));
    s.p[i] -= lr / correction1 * s.m[i] / (std::sqrt(s.v[i]) / std::sqrt(correction2) + from.settings.eps);
    for (std::size_t n = 0; n < 2; ++n) {
      const double decay = from.decay[n];
      s.averages[n][i] = decay * s.averages[n][i] + (1 - decay) * s.p[i];
    }
  }
}

template <class W>
double distance(const std::vector<W>& x, const std::vector<double>& exact) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double e = std::abs(static_cast<double>(x[i]) - exact[i]);
    worst = worse(worst, e);
  }
  return worst;
}

/// Each of the steps rounds p and the averages (|x| < 2) a few times, and m (< 1e-2) and v (< 1e-4) likewise; an update
/// has size lr and a relative error of a few epsilon, more where m nearly cancels, but never more than epsilon of
/// sqrt(v).
template <class W>
void agrees(Isa isa, index_t n) {
  constexpr index_t steps = 5;
  const double epsilon = std::numeric_limits<W>::epsilon();
  Cpu cpu({.threads = 2, .isa = isa});
  State<W> s(n);
  State<double> exact(n);
  exact.p.assign(s.p.begin(), s.p.end());
  for (std::size_t i = 0; i < 2; ++i) exact.averages[i].assign(s.averages[i].begin(), s.averages[i].end());
  for (index_t step = 1; step <= steps; ++step) {
    s.g = random<W>(n, 1e-2, static_cast<unsigned>(10 + step));
    exact.g.assign(s.g.begin(), s.g.end());
    update(cpu, s.args(step));
    definition(exact, s, step, static_cast<double>(W(0.37)));
  }
  const double allowed = epsilon * steps * (2 * 2.0 + 16 * 3e-3);
  BOOST_TEST(distance(s.p, exact.p) <= allowed);
  BOOST_TEST(distance(s.averages[0], exact.averages[0]) <= allowed);
  BOOST_TEST(distance(s.averages[1], exact.averages[1]) <= allowed);
  BOOST_TEST(distance(s.m, exact.m) <= epsilon * steps * 4 * 2e-2);
  BOOST_TEST(distance(s.v, exact.v) <= epsilon * steps * 4 * 4e-4);
  BOOST_TEST_MESSAGE(to_string(isa) << ", n " << n << ": " << distance(s.p, exact.p) / allowed
                                    << " of the allowed error");
}

}  // namespace

BOOST_AUTO_TEST_SUITE(update)

BOOST_AUTO_TEST_CASE(agrees_with_adamw_in_double) {
  for (const Isa isa : sra::backend::available_isas())
    for (const index_t n : {0, 1, 63, 64, 65, 1000, 40000}) {
      agrees<float>(isa, n);
      agrees<double>(isa, n);
    }
}

BOOST_AUTO_TEST_CASE(averages_read_the_new_parameters) {
  Cpu cpu({.threads = 1});
  State<float> s(3);
  s.decay = {0.0f, 1.0f};
  const auto before = s.averages[1];
  sra::backend::update(cpu, s.args(1));
  BOOST_TEST(s.averages[0] == s.p);
  BOOST_TEST(s.averages[1] == before);
}

BOOST_AUTO_TEST_CASE(frozen_parameters_stay_and_their_averages_follow) {
  Cpu cpu({.threads = 1});
  State<float> s(130);
  const auto p = s.p, e = s.averages[1];
  auto args = s.args(1);
  args.frozen = true;
  args.m = args.v = nullptr;
  args.gradient = nullptr;
  sra::backend::update(cpu, args);
  BOOST_TEST(s.p == p);
  for (std::size_t i = 0; i < p.size(); ++i) BOOST_TEST(s.averages[1][i] == 0.5f * e[i] + 0.5f * p[i]);
}

BOOST_AUTO_TEST_CASE(a_range_touches_nothing_else_and_cuts_do_not_matter) {
  for (const Isa isa : sra::backend::available_isas()) {
    Cpu cpu({.threads = 2, .isa = isa});
    constexpr index_t n = 50000;
    State<float> whole(n), cut(n);
    const std::vector<float> untouched = cut.p;
    sra::backend::update(cpu, whole.args(1));
    auto args = cut.args(1);
    args.first = 1001, args.count = n - 1001;
    sra::backend::update(cpu, args);
    BOOST_TEST(std::equal(untouched.begin(), untouched.begin() + 1001, cut.p.begin()));
    args.first = 0, args.count = 1001;
    sra::backend::update(cpu, args);
    BOOST_TEST((whole.p == cut.p && whole.m == cut.m && whole.v == cut.v));
    BOOST_TEST((whole.averages == cut.averages));
  }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  constexpr index_t n = 900001;
  for (const Isa isa : sra::backend::available_isas()) {
    std::vector<float> first;
    double first_norm = 0;
    for (const int threads : {1, 2, 3}) {
      Cpu cpu({.threads = threads, .isa = isa});
      State<float> s(n);
      sra::backend::update(cpu, s.args(1));
      const auto shared = [&] { return cpu.threads().worked_on(0) > 0 && cpu.threads().worked_on(1) > 0; };
      for (int tries = 0; threads == 2 && tries < 1000 && !shared(); ++tries) {
        s = State<float>(n);
        sra::backend::update(cpu, s.args(1));
      }
      if (threads == 2) BOOST_TEST(shared());
      const double norm = sra::backend::norm_of_chunks(cpu, s.g.data(), n);
      if (threads == 1) first = s.p, first_norm = norm;
      BOOST_TEST(std::memcmp(first.data(), s.p.data(), first.size() * sizeof(float)) == 0);
      BOOST_TEST(norm == first_norm);
    }
  }
}

BOOST_AUTO_TEST_CASE(the_norm_agrees_with_a_sum_in_higher_precision) {
  for (const Isa isa : sra::backend::available_isas()) {
    Cpu cpu({.threads = 2, .isa = isa});
    for (const index_t n : {0, 1, 65, 65535, 65536, 65537, 200001}) {
      const auto check = [&](const auto& x) {
        long double sum = 0;
        for (const auto value : x) sum += static_cast<long double>(value) * value;
        const double got = sra::backend::norm_of_chunks(cpu, x.data(), n), root = static_cast<double>(std::sqrt(sum));
        // At most 1024 + 6 + log2(chunks) additions of positive numbers follow one another; the root halves the error.
        BOOST_TEST(std::abs(got - root) <= 0.5 * 1040 * std::numeric_limits<double>::epsilon() * root);
      };
      check(random<float>(n, 1e-3, 7));
      check(random<double>(n, 1e3, 8));
    }
  }
}

BOOST_AUTO_TEST_CASE(the_norm_of_anything_not_finite_is_not_finite) {
  Cpu cpu({.threads = 1});
  std::vector<float> x(70000, 1.0f);
  x[69999] = std::numeric_limits<float>::infinity();
  BOOST_TEST(!std::isfinite(sra::backend::norm_of_chunks(cpu, x.data(), 70000)));
  x[69999] = std::numeric_limits<float>::quiet_NaN();
  BOOST_TEST(!std::isfinite(sra::backend::norm_of_chunks(cpu, x.data(), 70000)));
}

BOOST_AUTO_TEST_SUITE_END()
