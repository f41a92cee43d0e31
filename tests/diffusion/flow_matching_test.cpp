// Tests the objective: paths, draws of times, noised inputs, targets.
// SPDX-License-Identifier: MIT
#include "../ops/op_check.hpp"

#include <sra/cpu/draw.hpp>
#include <sra/cpu/reduce.hpp>
#include <sra/diffusion/flow_matching.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <vector>

using namespace sra;
using namespace sra::op_check;

namespace {

using Images = Shape<dynamic, 2, 3, 2>;
constexpr double pi = 3.14159265358979323846;

/// Times of a batch.
template <class Path, class W = double>
std::vector<double> times(TimeDistribution distribution, index_t batch, DrawKey key) {
  Cpu cpu;
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, W> context(workspace, {});
  std::vector<W> t(static_cast<std::size_t>(batch));
  FlowMatching<Path>{distribution}.draw_times(context, dense(t.data(), Shape<dynamic>{batch}), key);
  return {t.begin(), t.end()};
}

const std::vector<double> some_times{0.0, 0.25, 1.0};
constexpr auto given_times = [](index_t batch) { return dense(some_times.data(), Shape<dynamic>{batch}); };

template <class Path>
void check_derivatives() {
  const double h = 1e-5;  // h² f'''/6 is 7e-11 at most, rounding 1e-16 / h
  for (double t = 0.01; t < 1; t += 0.07) {
    const PathPoint p = Path::at(t), up = Path::at(t + h), down = Path::at(t - h);
    BOOST_TEST(std::abs(p.dalpha - (up.alpha - down.alpha) / (2 * h)) <= 1e-10);
    BOOST_TEST(std::abs(p.dsigma - (up.sigma - down.sigma) / (2 * h)) <= 1e-10);
  }
}

double mean_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v;
  return sum / double(x.size());
}
double square_of(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return sum / double(x.size());
}

}  // namespace

BOOST_AUTO_TEST_SUITE(flow_matching)

BOOST_AUTO_TEST_CASE(paths_lead_from_data_to_noise) {
  for (const PathPoint p : {LinearPath::at(0), CosinePath::at(0)}) BOOST_TEST((p.alpha == 1 && p.sigma == 0));
  BOOST_TEST((LinearPath::at(1).alpha == 0 && LinearPath::at(1).sigma == 1));
  BOOST_TEST(std::abs(CosinePath::at(1).alpha) <= 1e-16);  // cos of the nearest double to π / 2
  BOOST_TEST(CosinePath::at(1).sigma == 1);
  for (double t = 0; t <= 1; t += 0.125) {
    const PathPoint linear = LinearPath::at(t), cosine = CosinePath::at(t);
    BOOST_TEST((linear.alpha == 1 - t && linear.sigma == t && linear.dalpha == -1 && linear.dsigma == 1));
    BOOST_TEST(std::abs(cosine.alpha - std::cos(pi * t / 2)) <= 1e-15);
    BOOST_TEST(std::abs(cosine.alpha * cosine.alpha + cosine.sigma * cosine.sigma - 1) <= 1e-15);
  }
}

BOOST_AUTO_TEST_CASE(derivatives_match_finite_differences) {
  check_derivatives<LinearPath>();
  check_derivatives<CosinePath>();
}

/// σ/α at the time of s is s: t = s / (1 + s), and 2/π atan s.
BOOST_AUTO_TEST_CASE(a_time_has_the_ratio_of_noise_to_data_asked_for) {
  for (const double s : {0.01, 0.5, 1.0, 3.0, 50.0}) {
    BOOST_TEST(LinearPath::time_of(s) == s / (1 + s));
    BOOST_TEST(std::abs(CosinePath::time_of(s) - 2 / pi * std::atan(s)) <= 1e-15);
    const PathPoint linear = LinearPath::at(LinearPath::time_of(s)), cosine = CosinePath::at(CosinePath::time_of(s));
    BOOST_TEST(std::abs(linear.sigma / linear.alpha / s - 1) <= 1e-13);  // ε (1 + s)
    BOOST_TEST(std::abs(cosine.sigma / cosine.alpha / s - 1) <= 1e-13);
  }
}

/// n uniform times: mean 1/2 ± 1 / √(12 n), mean square 1/3 ± √(4/45 / n); five deviations are allowed.
BOOST_AUTO_TEST_CASE(uniform_times_are_uniform) {
  const double n = 20000;
  const auto t = times<LinearPath>(TimeDistribution::uniform, 20000, {.seed = 3});
  BOOST_TEST(*std::min_element(t.begin(), t.end()) >= 0);
  BOOST_TEST(*std::max_element(t.begin(), t.end()) < 1);
  BOOST_TEST(std::abs(mean_of(t) - 0.5) <= 5 / std::sqrt(12 * n));
  BOOST_TEST(std::abs(square_of(t) - 1.0 / 3) <= 5 * std::sqrt(4.0 / 45 / n));
  BOOST_TEST((times<CosinePath>(TimeDistribution::uniform, 20000, {.seed = 3}) == t));
}

/// log(σ/α) is standard normal: mean 0 ± 1 / √n, mean square 1 ± √(2 / n), and a share of 0.158655 lies above 1.
BOOST_AUTO_TEST_CASE(lognormal_times_have_a_normal_log_ratio) {
  const double n = 20000;
  const auto check = [&](const auto& path, const std::vector<double>& t) {
    std::vector<double> logs;
    double above = 0;
    for (const double time : t) {
      BOOST_TEST_REQUIRE((time > 0 && time < 1));
      const PathPoint p = std::remove_cvref_t<decltype(path)>::at(time);
      logs.push_back(std::log(p.sigma / p.alpha));
      above += logs.back() > 1;
    }
    BOOST_TEST(std::abs(mean_of(logs)) <= 5 / std::sqrt(n));
    BOOST_TEST(std::abs(square_of(logs) - 1) <= 5 * std::sqrt(2 / n));
    BOOST_TEST(std::abs(above / n - 0.158655) <= 5 * std::sqrt(0.158655 * 0.841345 / n));
  };
  const auto linear = times<LinearPath>(TimeDistribution::lognormal, 20000, {.seed = 3});
  const auto cosine = times<CosinePath>(TimeDistribution::lognormal, 20000, {.seed = 3});
  check(LinearPath{}, linear);
  check(CosinePath{}, cosine);
  // The same normal draw, through t = s / (1 + s) and through 2/π atan s, each rounded to a float.
  for (std::size_t i = 0; i < 100; ++i)
    BOOST_TEST(std::abs(cosine[i] - 2 / pi * std::atan(linear[i] / (1 - linear[i]))) <= 4 * 0x1p-23);
}

BOOST_AUTO_TEST_CASE(draws_depend_on_seed_step_and_sample_alone) {
  for (const auto distribution : {TimeDistribution::uniform, TimeDistribution::lognormal}) {
    const auto t = times<LinearPath>(distribution, 8, {.seed = 3, .step = 5, .first_sample = 100});
    const auto tail = times<LinearPath>(distribution, 3, {.seed = 3, .step = 5, .first_sample = 105});
    BOOST_TEST((std::vector<double>(t.begin() + 5, t.end()) == tail));
    BOOST_TEST((times<LinearPath, float>(distribution, 8, {.seed = 3, .step = 5, .first_sample = 100}) == t));
    BOOST_TEST((times<LinearPath>(distribution, 8, {.seed = 4, .step = 5, .first_sample = 100}) != t));
    BOOST_TEST((times<LinearPath>(distribution, 8, {.seed = 3, .step = 6, .first_sample = 100}) != t));
    BOOST_TEST((times<LinearPath>(distribution, 8, {.seed = 3, .step = 5, .first_sample = 101}) != t));
  }
}

/// Σ clamp(t − t_max u, 0, 1): never later than t, at most t_max earlier, its own draw.
BOOST_AUTO_TEST_CASE(the_teachers_time_is_up_to_t_max_closer_to_the_data) {
  Cpu cpu;
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, double> context(workspace, {});
  const index_t n = 10000;
  const DrawKey key{.seed = 3};
  const std::vector<double> t = times<LinearPath>(TimeDistribution::uniform, n, key);
  std::vector<double> closer(t.size());
  times_closer_to_data(context, dense(closer.data(), Shape<dynamic>{n}), dense(t.data(), Shape<dynamic>{n}), key, 0.2f);
  double shift = 0, late = 0, at_zero = 0;
  for (std::size_t i = 0; i < t.size(); ++i) {
    BOOST_TEST_REQUIRE((closer[i] >= 0 && closer[i] <= t[i] && closer[i] > t[i] - 0.2000001));
    at_zero += closer[i] == 0;
    if (t[i] < 0.25) continue;
    late += 1;
    shift += t[i] - closer[i];
  }
  // Uniform in [0, 0.2): mean 0.1, deviation 0.2 / √12.  P(t' = 0) = ∫ P(u >= t / 0.2) dt = 0.1.
  BOOST_TEST(std::abs(shift / late - 0.1) <= 5 * 0.2 / std::sqrt(12 * late));
  BOOST_TEST(std::abs(at_zero / double(n) - 0.1) <= 5 * std::sqrt(0.09 / double(n)));
}

/// x_t = α x + σ ε sample by sample, and it is a constant.
BOOST_AUTO_TEST_CASE(noised_inputs_lie_on_the_path) {
  const auto formula = [](auto path) {
    return [path](const auto& x, const auto& noise) {
      std::vector<double> y;
      for (std::size_t i = 0; i < x.values.size(); ++i) {
        const PathPoint p = path.at(some_times[i / Images::sample_size()]);
        y.push_back(p.alpha * x.values[i] + p.sigma * noise.values[i]);
      }
      return y;
    };
  };
  const auto x = argument<Images>(3, 1), noise = argument<Images>(3, 2);
  const auto noised = [](auto objective) {
    return [objective](auto clean, auto eps) {
      using W = typename decltype(clean)::context_type::wide;
      static const std::vector<W> t(some_times.begin(), some_times.end());
      return objective.noised(clean, eps, dense(t.data(), Shape<dynamic>{clean.batch()}));
    };
  };
  const Accuracy accuracy{.terms = 2, .floor = 1};
  agrees_with_formula(noised(FlowMatching<>{}), formula(LinearPath{}), accuracy, x, noise);
  agrees_with_formula(noised(FlowMatching<CosinePath>{}), formula(CosinePath{}), accuracy, x, noise);
  const Outcome out = Machine<double>().run(noised(FlowMatching<>{}), {1}, -1, x, noise);
  for (const auto& gradient : out.gradients)
    for (const double g : gradient) BOOST_TEST(g == 0);
}

/// The mean over a sample of (v̂ − (α' x + σ' ε))², which for the linear path is (v̂ − (ε − x))².
BOOST_AUTO_TEST_CASE(the_target_is_the_velocity_of_the_path) {
  const auto v = argument<Images>(3, 1), x = argument<Images>(3, 2), noise = argument<Images>(3, 3);
  const auto loss = [](auto objective) {
    return [objective](auto velocity, auto clean, auto eps) {
      using W = typename decltype(clean)::context_type::wide;
      static const std::vector<W> t(some_times.begin(), some_times.end());
      return objective.loss(velocity, clean, eps, dense(t.data(), Shape<dynamic>{clean.batch()}));
    };
  };
  const auto formula = [](auto target) {
    return [target](const auto& a, const auto& b, const auto& c) {
      std::vector<double> y(3);
      for (std::size_t i = 0; i < a.values.size(); ++i)
        y[i / Images::sample_size()] +=
            std::pow(a.values[i] - target(some_times[i / Images::sample_size()], b.values[i], c.values[i]), 2) /
            double(Images::sample_size());
      return y;
    };
  };
  const auto linear = [](double, double data, double eps) { return eps - data; };
  const auto cosine = [](double t, double data, double eps) {
    return -pi / 2 * std::sin(pi * t / 2) * data + pi / 2 * std::cos(pi * t / 2) * eps;
  };
  const Accuracy accuracy{.terms = double(Images::sample_size()), .floor = 1};
  agrees_with_formula(loss(FlowMatching<>{}), formula(linear), accuracy, v, x, noise);
  agrees_with_formula(loss(FlowMatching<CosinePath>{}), formula(cosine), accuracy, v, x, noise);
  matches_finite_differences(
      [&](auto velocity) {
        auto& c = velocity.context();
        const auto zero = make<double>(c, velocity.value.shape).stop_gradient();
        fill(c, zero.value, 0.5);
        return FlowMatching<>{}.loss(velocity, zero, zero, given_times(velocity.batch()));
      },
      v);
}

BOOST_AUTO_TEST_CASE(descriptions_name_path_and_distribution) {
  BOOST_TEST(FlowMatching<>{}.describe() == "FlowMatching linear uniform");
  BOOST_TEST(FlowMatching<CosinePath>{TimeDistribution::lognormal}.describe() == "FlowMatching cosine lognormal");
}

BOOST_AUTO_TEST_SUITE_END()
