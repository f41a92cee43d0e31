// Trains on the CUDA backend and on the CPU: the same program, near numbers, one kind of checkpoint.
// SPDX-License-Identifier: MIT
#include "../train/expected_statistics.hpp"
#include "cuda_runs.hpp"

#include <sra/cuda/around.cuh>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <filesystem>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

using Types = std::tuple<float, bf16>;

const CarryingItems items;

/// What two backends may differ by, as a part of the root of the mean square: sums in another order, each off by some units
/// in the last place; in bf16 some ten roundings on the way of a number, 2^-9 each, and the residual stream is rounded, too.
template <class T>
constexpr double allowed = std::is_same_v<T, float> ? 1e-6 : 10 * 0x1p-9;
/// Losses are means of many such numbers.
template <class T>
constexpr double allowed_loss = std::is_same_v<T, float> ? 1e-6 : 0x1p-9;

void expect_near(const std::string& what, double x, double reference, double limit) {
  const double error = std::abs(x - reference) / std::max(std::abs(reference), 1e-3);
  BOOST_TEST_MESSAGE(what << ": error " << error << ", " << error / limit << " of the allowed");
  BOOST_TEST(error <= limit, what << ": expected " << reference << ", got " << x);
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(initial_values_are_those_of_the_cpu, T, Types) {
  const Run<Cpu, T> here(options<Cpu, T>());
  const Run<Cuda, T> there(options<Cuda, T>());
  BOOST_TEST((everything(here) == everything(there)));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(losses_and_gradients_are_those_of_the_cpu, T, Types) {
  Run<Cpu, T> here(options<Cpu, T>());
  Run<Cuda, T> there(options<Cuda, T>());
  move_all(here);
  move_all(there);
  const Given given;
  using Model = Carried<T>;
  const auto a = here.losses(given.batch<Model>(here.backend()), given.draws<Model>(here.backend())),
             b = there.losses(given.batch<Model>(there.backend()), given.draws<Model>(there.backend()));
  expect_near("denoising", b.denoising, a.denoising, allowed_loss<T>);
  expect_near("alignment", b.alignment, a.alignment, allowed_loss<T>);
  expect_near("total", b.total, a.total, allowed_loss<T>);
  BOOST_TEST(a.weight == b.weight);
  std::vector<float> ours, theirs;
  for (const ParamInfo& p : here.engine().store().parameters()) {
    const auto x = here.gradient_values(p.name), y = there.gradient_values(p.name);
    if (p.kind == ParamKind::constant || p.name.starts_with("blocks.0.mlp.fc1")) continue;
    ours.insert(ours.end(), x.begin(), x.end());
    theirs.insert(theirs.end(), y.begin(), y.end());
  }
  const double error = distance(ours, theirs);
  BOOST_TEST_MESSAGE("gradients: error " << error << ", " << error / allowed<T> << " of the allowed");
  BOOST_TEST(error <= allowed<T>);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_run_follows_the_cpus, T, Types) {
  const auto train = [](auto& trainer) {
    std::vector<double> losses;
    for (auto step : trainer.train(items, 4)) losses.push_back(step.report().losses.total);
    return losses;
  };
  Run<Cpu, T> here(options<Cpu, T>());
  Run<Cuda, T> there(options<Cuda, T>());
  const auto a = train(here), b = train(there);
  BOOST_TEST_REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) expect_near("step " + std::to_string(i), b[i], a[i], allowed_loss<T>);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(statistics_are_those_of_the_numbers_before_and_after_a_step, T, Types) {
  Run<Cuda, T> t(options<Cuda, T>());
  move_all(t);
  BOOST_TEST(updated(t.tensor_statistics()) == 0);
  auto before = weights_of(t);
  for (auto step : t.train(items, 4)) {  // the last two are replayed
    (void)step;
    expect_tensor_statistics(t, before);
    before = weights_of(t);
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(two_runs_have_the_same_bits, T, Types) {
  const auto all = [] {
    Run<Cuda, T> t(options<Cuda, T>());
    for (auto step : t.train(items, 3)) (void)step;
    return everything(t);
  };
  BOOST_TEST((all() == all()));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(replayed_steps_and_images_have_the_bits_of_launched_ones, T, Types) {
  const auto all = [](bool graphs) {
    auto o = options<Cuda, T>();
    o.backend.graphs = graphs;
    o.backend.candidates = 1;  // times of algorithms, and so the choice, may differ from run to run
    Run<Cuda, T> t(std::move(o));
    for (auto step : t.train(items, 6)) (void)step;
    auto left = everything(t);
    const Given given;
    const auto x = t.sampler().sample(given.condition<Carried<T>>(t.backend()), {.steps = 4, .guidance = 2});
    left.insert(left.end(), x.data, x.data + x.span());
    return left;
  };
  BOOST_TEST((all(true) == all(false)));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_run_that_is_resumed_has_the_bits_of_one_that_was_not, T, Types) {
  const TemporaryFolder whole, parts;
  const auto train = [](const std::string& folder, index_t steps) {
    Run<Cuda, T> t(options<Cuda, T>(folder));
    for (auto step : t.train(items, steps)) (void)step;
    return everything(t);
  };
  const auto expected = train(whole.path().string(), 4);
  train(parts.path().string(), 2);
  // Gradients are not part of a checkpoint, but of the last step.
  BOOST_TEST((train(parts.path().string(), 4) == expected));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(checkpoints_go_from_one_backend_to_the_other, T, Types) {
  const TemporaryFolder folder;
  const auto values = [](const auto& t) {
    std::vector<float> all;
    for (const ParamInfo& p : t.engine().store().parameters()) {
      const auto x = t.parameter_values(p.name), e = t.ema_values(p.name);
      all.insert(all.end(), x.begin(), x.end());
      all.insert(all.end(), e.begin(), e.end());
    }
    return all;
  };
  std::vector<float> saved;
  {
    Run<Cuda, T> t(options<Cuda, T>(folder.path().string()));
    for (auto step : t.train(items, 2)) (void)step;
    saved = values(t);
  }
  {
    Run<Cpu, T> t(options<Cpu, T>(folder.path().string()));
    BOOST_TEST((values(t) == saved));
    for (auto step : t.train(items, 3)) (void)step;
    saved = values(t);
  }
  Run<Cuda, T> t(options<Cuda, T>(folder.path().string()));
  BOOST_TEST((values(t) == saved));
}

BOOST_AUTO_TEST_CASE(images_are_those_of_the_cpu) {
  using Model = Carried<float>;
  const auto images = [](auto& t) {
    move_all(t);
    const Given given;
    const auto x = t.sampler().sample(given.condition<Model>(t.backend()),
                                      {.method = SamplerMethod::ode_heun, .steps = 3, .guidance = 2, .max_batch = 3});
    return std::vector<float>(x.data, x.data + x.span());
  };
  Run<Cpu, float> here(options<Cpu, float>());
  Run<Cuda, float> there(options<Cuda, float>());
  const double error = distance(images(here), images(there));
  BOOST_TEST_MESSAGE("images: error " << error << ", " << error / allowed<float> << " of the allowed");
  BOOST_TEST(error <= allowed<float>);
}
