// Trains, saves, loads, validates and samples on a backend whose memory the host cannot touch: the CPU's bits, and no fault.
// SPDX-License-Identifier: MIT
#include "expected_statistics.hpp"
#include "far_runs.hpp"
#include "process.hpp"

#include <boost/test/unit_test.hpp>

#include <csignal>
#include <limits>
#include <memory>
#include <new>
#include <tuple>
#include <utility>

using namespace sra;
using namespace sra::test;
using far::Far;

namespace {

using Types = std::tuple<float, bf16>;

/// What the run leaves: losses of validations, and all numbers; the files are in its folder.
template <class B, class T>
std::pair<std::vector<double>, std::vector<float>> train(const std::string& run, index_t steps) {
  Run<B, T> t(options<B, T>(run));
  std::vector<double> losses;
  const CarryingItems data;
  for (auto step : t.train(data, steps)) {
    step.log();
    if constexpr (!B::is_host)  // which changes nothing
      if (step.number() == 1) t.profile(data, 1, Limits{});
    if (step.number() != steps) continue;
    step.sample({.steps = 2, .guidance = 2});
    const Validation v = step.validate({.samples = 7});
    losses.insert(losses.end(), v.live.begin(), v.live.end());
    losses.insert(losses.end(), v.averaged.begin(), v.averaged.end());
  }
  return {losses, everything(t)};
}

/// Images of two samplers of a trainer's weights: drawn, and from given numbers.
template <class B, class T>
std::vector<double> images(Run<B, T>& t) {
  using Model = Carried<T>;
  const Given given;
  std::vector<double> all, numbers(given.images.begin(), given.images.end());
  const auto add = [&](View<const double, typename Model::ImageShape> x) {
    all.insert(all.end(), x.data, x.data + x.span());
  };
  const auto condition = given.condition<Model>(t.backend());
  add(t.sampler().sample(condition, {.method = SamplerMethod::ode_heun, .steps = 2, .guidance = 2, .max_batch = 3}));
  add(t.sampler().sample(condition, {.method = SamplerMethod::sde_euler_maruyama, .steps = 2}));
  const SamplerDraws<Model> draws{dense(placed(t.backend(), numbers), typename Model::ImageShape{Given::n}),
                                  {placed(t.backend(), numbers), numbers.size()}};
  add(t.sampler().sample(condition, {.method = SamplerMethod::sde_euler_maruyama, .steps = 2}, draws));
  return all;
}

void closed_after_a_fault() { std::signal(SIGSEGV, SIG_DFL); }  // not the test framework's

}  // namespace

BOOST_AUTO_TEST_SUITE(far_backend)

BOOST_AUTO_TEST_CASE(an_access_that_should_not_be_ends_the_process) {
  BOOST_TEST(in_process([] {
               closed_after_a_fault();
               Far far;
               Workspace<Far> workspace(far);
               Detached<Far, float> context(workspace, {});
               const auto x = dense(static_cast<float*>(far.allocate(64)), Shape<16>{});
               fill(context, x, 1.0f);
               float first = 0;
               far.download(&first, x.data, sizeof first);
               if (first != 1.0f) throw Error("far: expected what was filled");
             }) == 0);
  BOOST_TEST(in_process([] {
               closed_after_a_fault();
               Far far;
               *static_cast<volatile float*>(far.allocate(64)) = 1;
             }) != 0);
  BOOST_TEST(in_process([] {
               closed_after_a_fault();
               Far far;
               Workspace<Far> workspace(far);
               Detached<Far, float> context(workspace, {});
               const std::vector<float> host(16);
               const auto x = dense(static_cast<float*>(far.allocate(64)), Shape<16>{});
               copy(context, x, dense(static_cast<const float*>(far.inputs().keep(host)), Shape<16>{}));
             }) != 0);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_step_and_given_draws_have_the_bits_of_the_cpu, T, Types) {
  using Model = Carried<T>;
  Run<Cpu, T> near(options<Cpu, T>());
  Run<Far, T> away(options<Far, T>());
  BOOST_TEST((everything(near) == everything(away)));
  const Given given;
  const auto same_losses = [](const Losses& a, const Losses& b) {
    BOOST_TEST(a.denoising == b.denoising);
    BOOST_TEST(a.alignment == b.alignment);
    BOOST_TEST(a.weight == b.weight);
    BOOST_TEST(a.total == b.total);
    BOOST_TEST(a.alignment > 0);
  };
  move_all(near);
  move_all(away);
  for (int i = 0; i < 2; ++i) {
    const auto a = near.step(given.batch<Model>(near.backend())), b = away.step(given.batch<Model>(away.backend()));
    same_losses(a.losses, b.losses);
    BOOST_TEST(a.gradient_norm == b.gradient_norm);
    BOOST_TEST(same(near.tensor_statistics(), away.tensor_statistics()));
  }
  same_losses(near.losses(given.batch<Model>(near.backend()), given.draws<Model>(near.backend())),
              away.losses(given.batch<Model>(away.backend()), given.draws<Model>(away.backend())));
  BOOST_TEST(near.engine().denoising_per_sample() == away.engine().denoising_per_sample());
  BOOST_TEST((everything(near) == everything(away)));
  BOOST_TEST((images<Cpu, T>(near) == images<Far, T>(away)));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_run_leaves_the_files_of_the_cpu_and_goes_on_from_them, T, Types) {
  const TemporaryFolder folder;
  const std::string near = folder / "near", away = folder / "away";
  BOOST_TEST((train<Cpu, T>(near, 3) == train<Far, T>(away, 3)));
  const auto same_files = [&](const std::string& name) {
    const std::string bytes = read_text(std::filesystem::path(near) / name);
    BOOST_TEST(!bytes.empty());
    BOOST_TEST((bytes == read_text(std::filesystem::path(away) / name)), name);
  };
  same_files("checkpoints/" + checkpoint_name(3));
  same_files("samples/step-000000003.png");
  BOOST_TEST((train<Cpu, T>(near, 5) == train<Far, T>(away, 5)));
  same_files("checkpoints/" + checkpoint_name(5));

  Run<Far, T> other(options<Far, T>());
  other.load_weights(std::filesystem::path(near) / "checkpoints" / checkpoint_name(5));
  Far far;
  const Weights<Carried<T>, Far, T> weights(far, away);
  Sampler sampler(far, weights.model(), weights.table());
  const Given given;
  const auto condition = given.condition<Carried<T>>(far);
  const auto a = sampler.sample(condition, {.steps = 2}), b = other.sampler().sample(condition, {.steps = 2});
  BOOST_TEST(std::equal(a.data, a.data + a.span(), b.data));
}

BOOST_AUTO_TEST_CASE(an_engine_that_kernels_do_not_see_makes_the_same_step) {
  using Core = Run<Far, float>::Core;
  using NearCore = Run<Cpu, float>::Core;
  using Model = Carried<float>;
  const Given given;
  const auto step = [&](auto& engine, auto& backend) {
    engine.store().allocate();
    engine.store().initialise(3);
    engine.begin({.step = 1});
    const Losses l = engine.run(given.batch<Model>(backend), {3, 0, 0}, {}, 0.1f, 1.0);
    const UpdateReport report = engine.update(0, {});
    return std::vector<double>{l.denoising, l.alignment, l.weight, l.total, report.gradient_norm};
  };
  Cpu cpu;
  NearCore near(cpu, Both{}, {}, 1);
  Far far;
  auto* engine = ::new (far.inputs().take(sizeof(Core))) Core(far, Both{}, {}, 1);
  BOOST_TEST(step(*engine, far) == step(near, cpu));
  engine->~Core();
}

BOOST_AUTO_TEST_CASE(a_gradient_that_is_not_finite_is_named) {
  const Given given;
  const auto message = [&](auto& t) {
    auto values = t.parameter_values("blocks.1.mlp.fc1.weight");
    values[3] = std::numeric_limits<float>::infinity();
    t.set_parameter("blocks.1.mlp.fc1.weight", values);
    return message_of<Error>([&] { t.step(given.batch<Carried<float>>(t.backend())); });
  };
  auto near_options = options<Cpu, float>();
  auto far_options = options<Far, float>();
  near_options.max_skipped = far_options.max_skipped = 1;
  Run<Cpu, float> near(near_options);
  Run<Far, float> away(far_options);
  const std::string expected = message(near);
  BOOST_TEST(expected.find("the first such parameter is ") != std::string::npos);
  BOOST_TEST(message(away) == expected);
  BOOST_CHECK_EXCEPTION(away.set_parameter("out.bias", std::vector<float>(3)), Error,
                        says({"out.bias", "expected 5 numbers, got 3"}));
}

BOOST_AUTO_TEST_SUITE_END()
