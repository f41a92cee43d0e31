// Tests samplers against known solutions of formulas, their grids, guidance, draws and errors.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"
#include "velocity_field.hpp"

#include <sra/diffusion/sampler.hpp>
#include <sra/sra.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace {

using namespace velocity_field;
using sra::Cpu, sra::Error, sra::SamplerMethod, sra::SamplerOptions;

using GaussianField = Field<sra::Unconditional, Gaussian>;
using LabelField = Field<sra::Classes<3>, OfLabel>;
constexpr index_t pixels = 12;

/// A double sampler of a formula; weights are nobody's.
template <class Model, class Path = sra::LinearPath>
using Exactly = sra::Sampler<Model, Cpu, double, Path>;

template <class Model>
sra::View<double, typename Model::ImageShape> view(std::vector<double>& x) {
  return sra::dense(x.data(), typename Model::ImageShape{static_cast<index_t>(x.size()) / pixels});
}
sra::View<const std::int32_t, Shape<dynamic>> labels(const std::vector<std::int32_t>& y) {
  return sra::dense(y.data(), Shape<dynamic>{static_cast<index_t>(y.size())});
}

/// What a call throws, or "".
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

/// The largest error of the ODE's solution at time 0, started from 12 given numbers.
double ode_error(SamplerMethod method, index_t steps) {
  Cpu cpu({.threads = 1});
  const GaussianField model{{}};
  Exactly<GaussianField> sampler(cpu, model, {});
  std::vector<double> start(pixels), x(pixels);
  for (std::size_t i = 0; i < start.size(); ++i) start[i] = -1.5 + 0.3 * static_cast<double>(i);
  sampler.sample(view<GaussianField>(x), {}, {.method = method, .steps = steps}, {.start = view<GaussianField>(start)});
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) worst = worse(worst, std::abs(x[i] - (0.7 + 0.4 * start[i])));
  return worst;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sampler)

BOOST_AUTO_TEST_CASE(euler_converges_in_first_order_to_the_solution) {
  const double coarse = ode_error(SamplerMethod::ode_euler, 256), fine = ode_error(SamplerMethod::ode_euler, 512);
  // error = c h + O(h²): halving h halves it, up to a relative O(h) of about 10 / 256
  BOOST_TEST(coarse / fine > 1.9);
  BOOST_TEST(coarse / fine < 2.1);
  BOOST_TEST(fine < 1e-2);
}

BOOST_AUTO_TEST_CASE(heun_converges_in_second_order_to_the_solution) {
  const double coarse = ode_error(SamplerMethod::ode_heun, 256), fine = ode_error(SamplerMethod::ode_heun, 512);
  BOOST_TEST(coarse / fine > 3.6);  // error = c h² + O(h³)
  BOOST_TEST(coarse / fine < 4.4);
  BOOST_TEST(fine < 1e-4);
}

BOOST_AUTO_TEST_CASE(one_step_of_heun_is_one_step_of_euler) {
  BOOST_TEST(ode_error(SamplerMethod::ode_heun, 1) == ode_error(SamplerMethod::ode_euler, 1));
}

BOOST_AUTO_TEST_CASE(heun_evaluates_twice_in_every_step_but_the_last) {
  Cpu cpu({.threads = 1});
  std::vector<Call> calls;
  const GaussianField model{{}, &calls};
  Exactly<GaussianField> sampler(cpu, model, {});
  std::vector<double> x(pixels);
  sampler.sample(view<GaussianField>(x), {}, {.method = SamplerMethod::ode_heun, .steps = 4});
  BOOST_REQUIRE(calls.size() == 7u);
  const double expected[] = {1, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25};
  for (std::size_t i = 0; i < 7; ++i) BOOST_TEST(calls[i].t == expected[i]);
}

BOOST_AUTO_TEST_CASE(the_sde_ends_in_the_distribution_of_the_data) {
  Cpu cpu;
  const GaussianField model{{}};
  Exactly<GaussianField> sampler(cpu, model, {});
  constexpr index_t n = 2000;
  std::vector<double> x(n * pixels);
  sampler.sample(view<GaussianField>(x), {},
                 {.method = SamplerMethod::sde_euler_maruyama, .steps = 400, .last_step = 0.01, .max_batch = 500});
  double mean = 0, square = 0;
  for (const double v : x) mean += v / static_cast<double>(x.size());
  for (const double v : x) square += (v - mean) * (v - mean) / static_cast<double>(x.size());
  const double error = 1 / std::sqrt(static_cast<double>(x.size()));  // of the mean, in deviations
  BOOST_TEST(std::abs(mean - 0.7) < 5 * 0.4 * error);
  // Five deviations of the estimate (error / √2, relative), and the discretisation: h = 1/400 per unit of log time.
  BOOST_TEST(std::abs(std::sqrt(square) / 0.4 - 1) < 5 * error / std::sqrt(2.0) + 0.01);
}

BOOST_AUTO_TEST_CASE(sde_steps_are_those_of_the_closed_form) {
  // Linear path: d = (2 − t) v + x.  SiT, arXiv:2401.08740.
  Cpu cpu({.threads = 1});
  const GaussianField model{{}};
  Exactly<GaussianField> sampler(cpu, model, {});
  constexpr int steps = 7;
  std::vector<double> start(2 * pixels), noise(6 * 2 * pixels), x(2 * pixels);
  const sra::Rng rng(3, sra::Purpose::user, 0, 0);
  for (std::size_t i = 0; i < start.size(); ++i) start[i] = rng.normal_double(i);
  for (std::size_t i = 0; i < noise.size(); ++i) noise[i] = rng.normal_double(1000 + i);
  sampler.sample(view<GaussianField>(x), {},
                 {.method = SamplerMethod::sde_euler_maruyama, .steps = steps, .last_step = 0.1},
                 {.start = view<GaussianField>(start), .noise = noise});
  for (std::size_t i = 0; i < x.size(); ++i) {
    double y = start[i];
    for (int k = 0; k < steps; ++k) {
      const double t = 1 - 0.15 * k, next = k + 1 < steps ? t - 0.15 : 0, v = Gaussian{}(y, t, 0, 0, 0);
      y += (next - t) * ((2 - t) * v + y);
      if (k + 1 < steps) y += std::sqrt(2 * t * (t - next)) * noise[static_cast<std::size_t>(k) * x.size() + i];
    }
    BOOST_TEST(std::abs(x[i] - y) <
               1e-12 * (1 + std::abs(y)));  // 7 steps of about 10 roundings, amplified at most tenfold
  }
}

BOOST_AUTO_TEST_CASE(the_grid_of_250_steps_is_the_published_one) {
  std::vector<double> t;
  sra::sampler_times({.method = SamplerMethod::sde_euler_maruyama, .steps = 250}, t);
  BOOST_REQUIRE(t.size() == 251u);
  BOOST_TEST(t[0] == 1.0);
  BOOST_TEST(std::abs(t[1] - 0.9961445783) < 5e-11);
  BOOST_TEST(std::abs(t[1] - t[0] + 0.0038554217) < 5e-11);
  BOOST_TEST(std::abs(t[248] - 0.0438554217) < 5e-11);
  BOOST_TEST(t[249] == 0.04);
  BOOST_TEST(t[250] == 0.0);
}

BOOST_AUTO_TEST_CASE(the_grid_counts_from_both_ends) {
  std::vector<double> t;
  sra::sampler_times({.steps = 10}, t);
  BOOST_REQUIRE(t.size() == 11u);
  for (std::size_t i = 0; i <= 10; ++i) {
    const double step = (0.0 - 1.0) / 10;
    BOOST_TEST(t[i] == (i < 5 ? 1.0 + step * static_cast<double>(i) : 0.0 - step * static_cast<double>(10 - i)));
  }
}

BOOST_AUTO_TEST_CASE(an_interval_up_to_0_7_guides_172_of_250_evaluations) {
  Cpu cpu({.threads = 1});
  std::vector<Call> calls;
  const LabelField model{{}, &calls};
  Exactly<LabelField> sampler(cpu, model, {});
  const std::vector<std::int32_t> y{0, 2};
  sampler.sample(labels(y),
                 {.method = SamplerMethod::sde_euler_maruyama, .steps = 250, .guidance = 1.8, .guidance_high = 0.7});
  int guided = 0;
  for (const Call& c : calls) {
    guided += c.batch == 4;
    BOOST_TEST((c.batch == 4) == (c.t <= 0.7));
  }
  BOOST_TEST(calls.size() == 250u);
  BOOST_TEST(guided == 172);
}

BOOST_AUTO_TEST_CASE(heun_guides_both_evaluations_of_a_step_by_its_first_time) {
  Cpu cpu({.threads = 1});
  std::vector<Call> calls;
  const LabelField model{{}, &calls};
  Exactly<LabelField> sampler(cpu, model, {});
  const std::vector<std::int32_t> y{1};
  sampler.sample(
      labels(y),
      {.method = SamplerMethod::ode_heun, .steps = 4, .guidance = 2, .guidance_low = 0.4, .guidance_high = 0.8});
  const index_t expected[] = {1, 1, 2, 2, 2, 2, 1};  // at 1 | 0.75 | 0.5 | 0.25
  BOOST_REQUIRE(calls.size() == 7u);
  for (std::size_t i = 0; i < 7; ++i) BOOST_TEST(calls[i].batch == expected[i]);
}

BOOST_AUTO_TEST_CASE(guidance_mixes_the_chosen_channels_and_leaves_the_others) {
  Cpu cpu({.threads = 1});
  const LabelField model{{}};
  Exactly<LabelField> sampler(cpu, model, {});
  const std::vector<std::int32_t> y{0, 2};
  std::vector<double> start(2 * pixels, 10.0);
  for (const int guided_channels : {0, 1, 2}) {
    const auto x = sampler.sample(labels(y), {.steps = 8, .guidance = 3, .guidance_channels = guided_channels},
                                  {.start = view<LabelField>(start)});
    for (index_t b = 0; b < 2; ++b)
      for (index_t c = 0; c < 2; ++c) {
        const double own = OfLabel::of(y[static_cast<std::size_t>(b)], c), null = OfLabel::of(3, c);
        const double v = guided_channels == 0 || c < guided_channels ? null + 3 * (own - null) : own;
        for (index_t r = 0; r < 6; ++r) BOOST_TEST(x.row(b, r)[c] == 10.0 - v);  // all numbers are multiples of 1/64
      }
  }
}

BOOST_AUTO_TEST_CASE(outputs_beyond_the_image_are_no_part_of_the_velocity) {
  using Wide = Field<sra::Classes<3>, OfLabel, 4>;  // NaN in channels 2 and 3, as a learned variance would stand there
  Cpu cpu({.threads = 1});
  const Wide wide{{}};
  const LabelField model{{}};
  Exactly<Wide> of_wide(cpu, wide, {});
  Exactly<LabelField> sampler(cpu, model, {});
  const std::vector<std::int32_t> y{2, 1, 0};
  const SamplerOptions options{.steps = 3, .guidance = 1.5};
  const auto a = of_wide.sample(labels(y), options), b = sampler.sample(labels(y), options);
  BOOST_TEST(std::memcmp(a.data, b.data, 3 * pixels * sizeof(double)) == 0);
}

BOOST_AUTO_TEST_CASE(a_vector_is_guided_against_zero) {
  const auto sum = [](double, double, View<const float, Shape<dynamic, 5>> y, index_t b, index_t) {
    double s = 0.25;
    for (int i = 0; i < 5; ++i) s += static_cast<double>(y.row(b)[i]);
    return s;
  };
  using Model = Field<sra::Vector<5>, decltype(sum)>;
  Cpu cpu({.threads = 1});
  const Model model{sum};
  Exactly<Model> sampler(cpu, model, {});
  const std::vector<float> y{1, 2, 3, 4, 5, 0, 0, 0, 0, 1};
  std::vector<double> start(2 * pixels, 0.0);
  const auto x = sampler.sample(sra::dense(y.data(), Shape<dynamic, 5>{2}), {.steps = 4, .guidance = 2},
                                {.start = view<Model>(start)});
  BOOST_TEST(*x.sample(0) == -(0.25 + 2 * 15));
  BOOST_TEST(*x.sample(1) == -(0.25 + 2 * 1));
}

BOOST_AUTO_TEST_CASE(given_draws_give_the_bits_of_drawn_ones) {
  Cpu cpu({.threads = 1});
  const GaussianField model{{}};
  Exactly<GaussianField> sampler(cpu, model, {});
  const SamplerOptions options{
      .method = SamplerMethod::sde_euler_maruyama, .steps = 5, .seed = 11, .first_sample = 100, .max_batch = 2};
  std::vector<double> drawn(3 * pixels), given(3 * pixels), start, noise;
  for (index_t b = 0; b < 3; ++b)
    for (index_t e = 0; e < pixels; ++e)
      start.push_back(sra::Rng(11, sra::Purpose::sampler_start, 0, 100 + b).normal_double(e));
  for (index_t step = 0; step < 4; ++step)
    for (index_t b = 0; b < 3; ++b)
      for (index_t e = 0; e < pixels; ++e)
        noise.push_back(sra::Rng(11, sra::Purpose::sampler_noise, step, 100 + b).normal_double(e));
  sampler.sample(view<GaussianField>(drawn), {}, options);
  sampler.sample(view<GaussianField>(given), {}, options, {.start = view<GaussianField>(start), .noise = noise});
  BOOST_TEST(drawn == given);
  sampler.sample(view<GaussianField>(given), {},
                 {.method = SamplerMethod::sde_euler_maruyama, .steps = 5, .seed = 12, .first_sample = 100});
  BOOST_TEST(drawn != given);
}

BOOST_AUTO_TEST_CASE(what_is_out_of_range_is_one_sentence) {
  Cpu cpu({.threads = 1});
  const LabelField model{{}};
  Exactly<LabelField> sampler(cpu, model, {});
  const std::vector<std::int32_t> none, good{0, 3}, high{0, 4}, negative{-1};
  std::vector<double> three(3 * pixels);
  const auto error = [&](const std::vector<std::int32_t>& y, SamplerOptions options,
                         sra::SamplerDraws<LabelField> draws = {}) {
    return error_of([&] { sampler.sample(labels(y), options, draws); });
  };
  BOOST_TEST(error(good, {}) == "");  // the null class is a class
  BOOST_TEST(error(none, {}) == "Sampler: expected at least 1 sample, got 0");
  BOOST_TEST(error(good, {.steps = 0}) == "Sampler: steps: expected at least 1, got 0");
  BOOST_TEST(error(good, {.method = SamplerMethod::sde_euler_maruyama, .steps = 1}) ==
             "Sampler: steps: expected at least 2, got 1");
  BOOST_TEST(error(high, {}) == "Sampler: sample 1: expected a label in [0, 3) or the null class 3, got 4");
  BOOST_TEST(error(negative, {}) == "Sampler: sample 0: expected a label in [0, 3) or the null class 3, got -1");
  BOOST_TEST(error(good, {.guidance_channels = 3}) == "Sampler: guidance_channels: expected 0 (all) to 2, got 3");
  BOOST_TEST(error(good, {.max_batch = 0}) == "Sampler: max_batch: expected at least 1, got 0");
  BOOST_TEST(error(good, {.guidance = NAN}).starts_with("Sampler: guidance: expected a finite number"));
  BOOST_TEST(error(good, {.method = SamplerMethod::sde_euler_maruyama, .last_step = 0}) ==
             "Sampler: last_step: expected a time in (0, 1), got 0");
  BOOST_TEST(error(good, {}, {.start = view<LabelField>(three)}) == "Sampler: draws.start: expected 2 samples, got 3");
  BOOST_TEST(error(good, {.method = SamplerMethod::sde_euler_maruyama, .steps = 3}, {.noise = three}) ==
             "Sampler: draws.noise: expected 48 numbers, got 36");
}

BOOST_AUTO_TEST_CASE(a_state_that_is_not_finite_names_the_step) {
  const auto breaks = [](double x, double t, sra::Unconditional::View, index_t b, index_t) {
    return t < 0.6 && b == 1 ? NAN : x;
  };
  using Model = Field<sra::Unconditional, decltype(breaks)>;
  Cpu cpu({.threads = 1});
  const Model model{breaks};
  Exactly<Model> sampler(cpu, model, {});
  std::vector<double> x(2 * pixels, 5.0);
  const auto run = [&] { sampler.sample(view<Model>(x), {}, {.steps = 4}); };
  BOOST_TEST(error_of(run) ==
             "Sampler: step 2 of 4, from t = 0.5 to 0.25: expected finite values, got NaN or infinity");
  BOOST_TEST(x == std::vector<double>(2 * pixels, 5.0));  // nothing was written
  std::vector<double> one(pixels);
  sampler.sample(view<Model>(one), {}, {.steps = 4});  // and the sampler still works
}

BOOST_AUTO_TEST_SUITE_END()
