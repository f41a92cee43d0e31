// Holds samplers and validations whose evaluations are captured and replayed to those without: the same bits, few launches.
// SPDX-License-Identifier: MIT
#include "late_runs.hpp"

#include <boost/test/unit_test.hpp>

#include <tuple>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

using Types = std::tuple<float, bf16>;

const Given given;
const CarryingItems items;

/// A trainer whose weights are not at their start.
template <class T>
struct Moved {
  Run<Cuda, T> trainer;
  explicit Moved(bool graphs) : trainer(with_graphs<T>(graphs)) { move_all(trainer); }

  /// Adds the images of all samples.
  void draw(std::vector<float>& to, const SamplerOptions& options) {
    const auto x = trainer.sampler().sample(given.condition<Carried<T>>(trainer.backend()), options);
    to.insert(to.end(), x.data, x.data + x.span());
  }
};

/// What was asked for by f().
template <class F>
arch::emulated::Counts counted(F&& f) {
  const auto before = counts();
  f();
  const auto after = counts();
  return {.graphs = after.graphs - before.graphs,
          .captures = after.captures - before.captures,
          .kernels = after.kernels - before.kernels,
          .waits = after.waits - before.waits};
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(replayed_evaluations_have_the_bits_of_launched_ones, T, Types) {
  const auto images = [](bool graphs) {
    Moved<T> run(graphs);
    std::vector<float> all;
    for (const SamplerMethod method :
         {SamplerMethod::ode_euler, SamplerMethod::ode_heun, SamplerMethod::sde_euler_maruyama})
      for (const double guidance : {1.0, 2.0})
        run.draw(all, {.method = method, .steps = 4, .guidance = guidance, .guidance_high = 0.8, .max_batch = 3});
    return all;
  };
  const auto expected = images(false);
  const Late late;
  BOOST_TEST((images(true) == expected));
}

BOOST_AUTO_TEST_CASE(a_step_is_one_graph_and_a_few_kernels) {
  const Late late;
  Moved<float> run(true);
  std::vector<float> images;
  const auto draws = [&](index_t steps) { return counted([&] { run.draw(images, {.steps = steps, .guidance = 2}); }); };
  const auto first = draws(6), second = draws(6), longer = draws(7);
  BOOST_TEST(first.captures == 1, "the second evaluation");
  BOOST_TEST(first.graphs == 5, "all but the first");
  BOOST_TEST(second.captures == 0);
  BOOST_TEST(second.graphs == 6);
  BOOST_TEST(longer.graphs == 7);
  BOOST_TEST(longer.kernels - second.kernels == 5, "time, step, copy, and two for the check that all is finite");
  BOOST_TEST(longer.waits - second.waits == 1, "the check");
}

BOOST_AUTO_TEST_CASE(every_number_of_samples_is_captured_once) {
  const Late late;
  Moved<float> run(true);
  std::vector<float> images;
  const auto draws = [&] {
    return counted([&] { run.draw(images, {.steps = 6, .guidance = 2, .guidance_high = 0.5, .max_batch = 3}); });
  };
  BOOST_TEST(draws().captures == 4, "three samples and two, guided and not");
  const auto again = draws();
  BOOST_TEST(again.captures == 0);
  BOOST_TEST(again.graphs == 12);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(replayed_evaluations_see_other_weights_and_conditions, T, Types) {
  const auto images = [](bool graphs) {
    Moved<T> run(graphs);
    std::vector<float> all;
    const SamplerOptions options{.steps = 3, .guidance = 2};
    run.draw(all, options);
    for (auto step : run.trainer.train(items, 4)) (void)step;
    run.draw(all, options);
    const Given others;
    auto condition = others.condition<Carried<T>>(run.trainer.backend());
    condition.shape.batch = 4;
    condition.data += condition.stride;  // the second sample's to the last's
    const auto x = run.trainer.sampler().sample(condition, {.steps = 3, .guidance = 1.5, .seed = 7, .max_batch = 4});
    const auto y = run.trainer.sampler().sample(given.condition<Carried<T>>(run.trainer.backend()),
                                                {.steps = 3, .guidance = 1.5, .seed = 7});
    all.insert(all.end(), x.data, x.data + x.span());
    all.insert(all.end(), y.data, y.data + y.span());
    return all;
  };
  const auto expected = images(false);
  const Late late;
  BOOST_TEST((images(true) == expected));
}

namespace {

/// A model that reads the device, which cannot be captured.
struct Reading {
  using Inner = Carried<float>;
  using ImageShape = Inner::ImageShape;
  using Condition = Inner::Condition;
  const Inner& inner;

  template <Variable X, class W>
  auto operator()(X x, View<const W, Shape<dynamic>> t, Condition::View y) const {
    x.context().backend().wait();
    return inner(x, t, y);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_cannot_be_captured_is_launched) {
  const auto images = [](bool graphs) {
    Moved<float> run(graphs);
    const Reading model{run.trainer.model()};
    Sampler sampler(run.trainer.backend(), model, run.trainer.engine().store().averaged());
    std::vector<float> all;
    const auto asked = counted([&] {
      for (int i = 0; i < 2; ++i) {
        const auto x = sampler.sample(given.condition<Reading>(run.trainer.backend()), {.steps = 4, .guidance = 2});
        all.insert(all.end(), x.data, x.data + x.span());
      }
    });
    BOOST_TEST(asked.graphs == 0);
    return all;
  };
  const auto expected = images(false);
  const Late late;
  BOOST_TEST((images(true) == expected));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(replayed_validations_have_the_bits_of_launched_ones, T, Types) {
  const auto losses = [](bool graphs) {
    Moved<T> run(graphs);
    std::vector<double> all;
    for (auto step : run.trainer.train(items, 3)) {
      const auto asked = counted([&] {
        const Validation v = step.validate({.samples = 7});  // three, three and one
        all.insert(all.end(), v.averaged.begin(), v.averaged.end());
        all.insert(all.end(), v.live.begin(), v.live.end());
      });
      // Two weights; a sample alone comes once a validation.
      const long expected_graphs[] = {2, 6, 6}, expected_captures[] = {2, 2, 0};
      BOOST_TEST(asked.graphs == (graphs ? expected_graphs[step.number() - 1] : 0));
      BOOST_TEST(asked.captures == (graphs ? expected_captures[step.number() - 1] : 0));
    }
    return all;
  };
  const auto expected = losses(false);
  const Late late;
  BOOST_TEST(losses(true) == expected);
}
