// Tests attention and its gradients against the definition in double precision and against finite differences.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"

#include <sra/cpu/attention.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using sra::Cpu, sra::GradMode, sra::index_t;
using sra::backend::AttentionArgs, sra::backend::AttentionGrad, sra::backend::AttentionResult, sra::backend::Isa;

struct Sizes {
  index_t samples, heads, queries, keys, width;
  int groups;  // 0: everybody sees everybody
};

// One token, one key, odd widths, more keys than a block, more queries than a task, unequal counts, groups.
constexpr Sizes all_sizes[] = {{1, 1, 1, 1, 1, 0},      {2, 3, 5, 7, 5, 0},    {1, 2, 64, 64, 16, 0},
                               {2, 1, 17, 65, 48, 3},   {1, 2, 130, 1, 72, 0}, {1, 1, 1, 200, 64, 2},
                               {1, 2, 300, 129, 24, 0}, {1, 1, 70, 700, 19, 4}};

std::size_t size_of(index_t n) { return static_cast<std::size_t>(n); }

/// Inputs with gaps between tokens and between samples; the gaps hold NaN.
template <class T>
struct Problem {
  Sizes sizes;
  std::vector<T> q, k, v, dy;
  std::vector<std::int32_t> query_group, key_group;
  AttentionArgs<T> args;

  index_t token() const { return sizes.heads * sizes.width + 3; }
  index_t sample(index_t tokens) const { return tokens * token() + 5; }

  std::vector<T> tensor(index_t tokens, unsigned seed) const {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    std::vector<T> t(size_of(sizes.samples * sample(tokens)), std::numeric_limits<T>::quiet_NaN());
    for (index_t s = 0; s < sizes.samples; ++s)
      for (index_t i = 0; i < tokens; ++i)
        for (index_t d = 0; d < sizes.heads * sizes.width; ++d)
          t[size_of(s * sample(tokens) + i * token() + d)] = static_cast<T>(normal(generator));
    return t;
  }

  explicit Problem(Sizes which) : sizes(which) {
    q = tensor(sizes.queries, 1), k = tensor(sizes.keys, 2), v = tensor(sizes.keys, 3), dy = tensor(sizes.queries, 4);
    std::mt19937 generator(5);
    for (index_t i = 0; i < sizes.samples * sizes.queries; ++i)
      query_group.push_back(static_cast<std::int32_t>(generator() % 4));  // a group may have no key at all
    for (index_t i = 0; i < sizes.samples * sizes.keys; ++i)
      key_group.push_back(static_cast<std::int32_t>(generator() % static_cast<unsigned>(std::max(1, sizes.groups))));
    args = {.samples = sizes.samples,
            .heads = sizes.heads,
            .queries = sizes.queries,
            .keys = sizes.keys,
            .width = sizes.width};
    args.q = q.data(), args.k = k.data(), args.v = v.data();
    args.q_token = args.k_token = args.v_token = token();
    args.q_sample = sample(sizes.queries);
    args.k_sample = args.v_sample = sample(sizes.keys);
    if (sizes.groups) args.query_group = query_group.data(), args.key_group = key_group.data();
    args.scale = static_cast<T>(1.3 / std::sqrt(static_cast<double>(sizes.width)));
  }

  template <class U>
  Problem<U> as() const {
    Problem<U> other(sizes);
    other.q.assign(q.begin(), q.end()), other.k.assign(k.begin(), k.end());
    other.v.assign(v.begin(), v.end()), other.dy.assign(dy.begin(), dy.end());
    other.args.q = other.q.data(), other.args.k = other.k.data(), other.args.v = other.v.data();
    other.args.scale = static_cast<U>(args.scale);
    return other;
  }
};

/// Everything that attention computes; elements that are not written stay NaN.
template <class T>
struct Outputs {
  std::vector<T> o, lse, dq, dk, dv;
};

template <class T>
Outputs<T> run(Cpu& cpu, const Problem<T>& p) {
  constexpr T poison = std::numeric_limits<T>::quiet_NaN();
  Outputs<T> out{std::vector<T>(p.q.size(), poison),
                 std::vector<T>(size_of(p.sizes.samples * p.sizes.heads * p.sizes.queries), poison),
                 std::vector<T>(p.q.size(), poison), std::vector<T>(p.k.size(), poison),
                 std::vector<T>(p.k.size(), poison)};
  attention_forward(cpu, out.o.data(), p.token(), p.args.q_sample, out.lse.data(), p.args);
  attention_backward(
      cpu, AttentionGrad<T>{out.dq.data(), p.token(), p.args.q_sample, GradMode::overwrite},
      {out.dk.data(), p.token(), p.args.k_sample, GradMode::overwrite},
      {out.dv.data(), p.token(), p.args.v_sample, GradMode::overwrite},
      {out.o.data(), p.token(), p.args.q_sample, out.lse.data(), p.dy.data(), p.token(), p.args.q_sample}, p.args);
  return out;
}

/// The definition, in double, one query after the other.
Outputs<double> definition(const Problem<double>& p) {
  Outputs<double> out{std::vector<double>(p.q.size(), 0.0),
                      {},
                      std::vector<double>(p.q.size(), 0.0),
                      std::vector<double>(p.k.size(), 0.0),
                      std::vector<double>(p.k.size(), 0.0)};
  const auto& a = p.args;
  for (index_t s = 0; s < a.samples; ++s)
    for (index_t h = 0; h < a.heads; ++h)
      for (index_t i = 0; i < a.queries; ++i) {
        const auto qi = size_of(s * a.q_sample + i * a.q_token + h * a.width);
        std::vector<double> weight(size_of(a.keys), 0.0), dp(size_of(a.keys), 0.0);
        double largest = -std::numeric_limits<double>::infinity(), sum = 0, mean = 0;
        const auto ki = [&](index_t j) { return size_of(s * a.k_sample + j * a.k_token + h * a.width); };
        const auto seen = [&](index_t j) {
          return !a.query_group || a.query_group[s * a.queries + i] == a.key_group[s * a.keys + j];
        };
        for (index_t j = 0; j < a.keys; ++j) {
          for (std::size_t d = 0; d < size_of(a.width); ++d) {
            weight[size_of(j)] += a.scale * p.q[qi + d] * p.k[ki(j) + d];
            dp[size_of(j)] += p.dy[qi + d] * p.v[ki(j) + d];
          }
          if (seen(j)) largest = std::max(largest, weight[size_of(j)]);
        }
        for (index_t j = 0; j < a.keys; ++j)
          sum += weight[size_of(j)] = seen(j) ? std::exp(weight[size_of(j)] - largest) : 0.0;
        out.lse.push_back(sum == 0 ? std::numeric_limits<double>::infinity()
                                   : (largest + std::log(sum)) / std::log(2.0));
        for (double& w : weight) w = sum == 0 ? 0.0 : w / sum;
        for (index_t j = 0; j < a.keys; ++j) mean += weight[size_of(j)] * dp[size_of(j)];
        for (index_t j = 0; j < a.keys; ++j)
          for (std::size_t d = 0; d < size_of(a.width); ++d) {
            const double w = weight[size_of(j)], ds = a.scale * w * (dp[size_of(j)] - mean);
            out.o[qi + d] += w * p.v[ki(j) + d];
            out.dq[qi + d] += ds * p.k[ki(j) + d];
            out.dk[ki(j) + d] += ds * p.q[qi + d];
            out.dv[ki(j) + d] += w * p.dy[qi + d];
          }
      }
  return out;
}

/// The largest |x - exact| over all elements that the input has, and whether the gaps are still NaN.
template <class T>
double distance(const std::vector<T>& x, const std::vector<double>& exact, const std::vector<T>* where) {
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    if (where && std::isnan((*where)[i])) {
      if (!std::isnan(x[i])) BOOST_ERROR("wrote between tokens");
      continue;
    }
    const double e = static_cast<double>(x[i]) == exact[i] ? 0.0 : std::abs(static_cast<double>(x[i]) - exact[i]);
    worst = worse(worst, e);
  }
  return worst;
}

/// Scores are sums of `width` products of unit size times scale ~ 1 / sqrt(width): their error, and that of lse and
/// hence of the relative size of p, is epsilon (sqrt(width) + |score| + log(keys)), |score| < 6.5 here.  The sums over
/// keys or queries of values of size <= 4 that follow add epsilon sqrt(count) each; ds doubles the path.
template <class T>
double allowed(const Sizes& s) {
  const double epsilon = std::numeric_limits<T>::epsilon(), width = static_cast<double>(s.width);
  const double score = std::sqrt(width) + 6.5 + std::log(static_cast<double>(s.keys));
  return epsilon * (score + std::sqrt(static_cast<double>(std::max(s.keys, s.queries)))) * 4 * 2;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attention)

BOOST_AUTO_TEST_CASE(agrees_with_the_definition) {
  for (const Isa isa : sra::backend::available_isas()) {
    Cpu cpu({.threads = 2, .isa = isa});
    double worst = 0;
    const auto check = [&](const auto& problem, const auto& out, const Outputs<double>& exact, double bound,
                           const char* which) {
      const double e = std::max({distance(out.o, exact.o, &problem.q), distance(out.dq, exact.dq, &problem.q),
                                 distance(out.dk, exact.dk, &problem.k), distance(out.dv, exact.dv, &problem.k),
                                 distance(out.lse, exact.lse, static_cast<decltype(&out.lse)>(nullptr))});
      worst = worse(worst, e / bound);
      if (!(e <= bound))
        BOOST_ERROR(which << " " << problem.sizes.queries << " x " << problem.sizes.keys << " x " << problem.sizes.width
                          << ": " << e / bound);
    };
    for (const Sizes& sizes : all_sizes) {
      const Problem<float> single(sizes);
      const Problem<double> wide(sizes);
      const Problem<double> single_in_double = single.as<double>();
      check(single, run(cpu, single), definition(single_in_double), allowed<float>(sizes), "float");
      check(wide, run(cpu, wide), definition(wide), allowed<double>(sizes), "double");
    }
    BOOST_TEST_MESSAGE(to_string(isa) << ": " << worst << " of the allowed error");
    BOOST_TEST(worst <= 1);
  }
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  Cpu cpu({.threads = 2});
  for (const Sizes& sizes : {Sizes{2, 2, 5, 7, 3, 0}, Sizes{1, 2, 9, 6, 4, 2}}) {
    Problem<double> p(sizes);
    const Outputs<double> out = run(cpu, p);
    const auto loss = [&] {
      std::vector<double> o(p.q.size(), 0.0), lse(out.lse.size());
      attention_forward(cpu, o.data(), p.token(), p.args.q_sample, lse.data(), p.args);
      double sum = 0;
      for (std::size_t i = 0; i < o.size(); ++i)
        if (!std::isnan(p.dy[i])) sum += o[i] * p.dy[i];
      return sum;
    };
    constexpr double h = 1e-5;  // error h^2 / 6 |f'''| + epsilon |loss| / h: below 1e-9 + 1e-9
    double worst = 0;
    for (const auto& [input, gradient] : {std::pair{&p.q, &out.dq}, std::pair{&p.k, &out.dk}, std::pair{&p.v, &out.dv}})
      for (std::size_t i = 0; i < input->size(); ++i) {
        double& x = (*input)[i];
        const double before = x;
        if (std::isnan(before)) continue;
        x = before + h;
        const double up = loss();
        x = before - h;
        const double down = loss();
        x = before;
        worst = worse(worst, std::abs((up - down) / (2 * h) - (*gradient)[i]));
      }
    BOOST_TEST(worst < 1e-8);
  }
}

BOOST_AUTO_TEST_CASE(a_query_without_keys_of_its_group_gets_zero) {
  Cpu cpu({.threads = 1});
  Problem<float> p({1, 1, 3, 70, 8, 1});
  p.query_group = {0, 9, 0};
  p.args.query_group = p.query_group.data();
  const Outputs<float> out = run(cpu, p);
  for (index_t d = 0; d < 8; ++d) {
    BOOST_TEST(out.o[size_of(p.token() + d)] == 0);
    BOOST_TEST(out.dq[size_of(p.token() + d)] == 0);
    BOOST_TEST(out.o[size_of(d)] != 0);
  }
  BOOST_TEST(out.lse[1] == std::numeric_limits<float>::infinity());
}

BOOST_AUTO_TEST_CASE(large_scores_neither_overflow_nor_vanish) {
  for (const sra::backend::Isa isa : sra::backend::available_isas())
    for (const float scale : {400.0f, 4e9f}) {
      Cpu cpu({.threads = 1, .isa = isa});
      Problem<float> p({1, 2, 20, 90, 16, 0});
      p.args.scale = scale;
      const Outputs<float> out = run(cpu, p);
      float largest = 0;
      for (const float v : p.v) largest = v > largest ? v : -v > largest ? -v : largest;
      for (std::size_t i = 0; i < p.q.size(); ++i)
        if (!std::isnan(p.q[i])) {
          BOOST_TEST(std::abs(out.o[i]) <= 1.00001f * largest);  // a mean of values
          BOOST_TEST(std::isfinite(out.dq[i]));
        }
    }
}

BOOST_AUTO_TEST_CASE(gradients_accumulate_and_can_be_ignored) {
  Cpu cpu({.threads = 2});
  const Problem<double> p({2, 2, 150, 260, 6, 3});
  const Outputs<double> once = run(cpu, p);
  std::vector<double> dq = once.dq, dk = once.dk, dv = once.dv;
  const AttentionResult<double> result{once.o.data(), p.token(), p.args.q_sample, once.lse.data(),
                                       p.dy.data(),   p.token(), p.args.q_sample};
  attention_backward(cpu, AttentionGrad<double>{dq.data(), p.token(), p.args.q_sample, GradMode::accumulate},
                     {nullptr, 0, 0, GradMode::ignore}, {dv.data(), p.token(), p.args.v_sample, GradMode::accumulate},
                     result, p.args);
  attention_backward(cpu, AttentionGrad<double>{}, {dk.data(), p.token(), p.args.k_sample, GradMode::accumulate}, {},
                     result, p.args);
  for (const auto& [sum, one] : {std::pair{&dq, &once.dq}, std::pair{&dk, &once.dk}, std::pair{&dv, &once.dv}}) {
    std::vector<double> twice = *one;
    for (double& x : twice) x *= 2;
    BOOST_TEST(distance(*sum, twice, one) <= 2 * allowed<double>(p.sizes));
  }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  const Problem<float> p({3, 4, 300, 300, 64, 2});
  for (const Isa isa : sra::backend::available_isas()) {
    Outputs<float> first;
    for (const int threads : {1, 2, 3}) {
      Cpu cpu({.threads = threads, .isa = isa});
      Outputs<float> out = run(cpu, p);
      for (int tries = 0;
           threads == 2 && tries < 1000 && (cpu.threads().worked_on(0) == 0 || cpu.threads().worked_on(1) == 0);
           ++tries)
        out = run(cpu, p);
      if (threads == 2) {
        BOOST_TEST(cpu.threads().worked_on(0) > 0);
        BOOST_TEST(cpu.threads().worked_on(1) > 0);
      }
      if (threads == 1) first = out;
      for (const auto member :
           {&Outputs<float>::o, &Outputs<float>::lse, &Outputs<float>::dq, &Outputs<float>::dk, &Outputs<float>::dv})
        BOOST_TEST(std::memcmp((out.*member).data(), (first.*member).data(), (out.*member).size() * sizeof(float)) ==
                   0);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
