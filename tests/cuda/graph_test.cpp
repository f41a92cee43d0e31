// Holds runs whose steps are captured and replayed to runs without: the same bits, few launches, no wait within a step.
// SPDX-License-Identifier: MIT
#include "late_runs.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

using Types = std::tuple<float, bf16>;

const CarryingItems items;

/// Everything that a run leaves: losses, norms and learning rates of its steps, parameters, averages, gradients.
struct Trace {
  std::vector<double> reports;
  std::vector<float> state;
  bool operator==(const Trace&) const = default;
};
void add(Trace& trace, const StepReport& r) {
  for (const double x : {r.losses.denoising, r.losses.alignment, r.losses.weight, r.losses.total, r.gradient_norm, r.lr,
                         r.skipped ? 1.0 : 0.0})
    trace.reports.push_back(x);
}
template <class T>
Trace trained(typename Run<Cuda, T>::Options o, index_t steps, bool ask = true) {
  Run<Cuda, T> t(std::move(o));
  Trace trace;
  for (auto step : t.train(items, steps))
    if (ask) add(trace, step.report());
  trace.state = everything(t);
  return trace;
}

/// Eight steps without graphs.
template <class T>
const Trace& launched() {
  static const Trace trace = trained<T>(with_graphs<T>(false), 8);
  return trace;
}

/// A learning rate at which step `at` breaks the parameters: then no gradient is finite.
Schedule breaking(index_t at) {
  return [at](const Progress& p) { return p.step == at ? 1e30 : 1e-3; };
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(replayed_steps_have_the_bits_of_launched_ones, T, Types) {
  const Trace& expected = launched<T>();
  const Late late;
  const long before = counts().captures;
  BOOST_TEST((trained<T>(with_graphs<T>(true), 8) == expected));
  BOOST_TEST(counts().captures - before == 3, "the first micro-batch, the second and the update");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(steps_that_nobody_asks_about_have_the_same_bits, T, Types) {
  const Trace& expected = launched<T>();
  const Late late;
  BOOST_TEST((trained<T>(with_graphs<T>(true), 8, false).state == expected.state));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(inputs_that_arrive_early_on_a_callers_stream_change_nothing, T, Types) {
  const Trace& expected = launched<T>();
  const Late late;
  const arch::Stream stream = arch::make_stream();
  {
    auto o = with_graphs<T>(true);
    o.backend.stream = stream;
    Run<Cuda, T> t(std::move(o));
    t.backend().ahead()->at_once = true;
    for (auto step : t.train(items, 8)) (void)step;
    BOOST_TEST((everything(t) == expected.state));
  }
  arch::release(stream);
}

/// The device is still at work on a micro-batch when the next one's inputs arrive.
BOOST_AUTO_TEST_CASE(inputs_arrive_while_the_device_works_on_the_micro_batch_before) {
  const Late late;
  const auto waiting = [](bool early) {  // pieces of work after each replayed step
    Run<Cuda, float> t(with_graphs<float>(true));
    t.backend().ahead()->at_once = early;
    std::vector<std::size_t> pieces;
    for (auto step : t.train(items, 8))
      if (step.number() > 3) pieces.push_back(t.backend().stream()->later.size());
    return pieces;
  };
  std::vector<std::size_t> expected = waiting(false);
  for (std::size_t& pieces : expected)
    pieces -= 2;  // the first micro-batch's inputs are awaited, and taken to their place
  BOOST_TEST(waiting(true) == expected);
}

BOOST_AUTO_TEST_CASE(a_profile_between_replayed_steps_changes_nothing) {
  const Trace& expected = launched<float>();
  const Late late;
  Run<Cuda, float> t(with_graphs<float>(true));
  Trace trace;
  for (auto step : t.train(items, 8)) {
    add(trace, step.report());
    if (step.number() == 5) BOOST_TEST(t.profile(items, 1, Limits{}).kernels.size() > 10u);
  }
  trace.state = everything(t);
  BOOST_TEST((trace == expected));
}

BOOST_AUTO_TEST_CASE(a_step_is_one_launch_of_each_graph_and_does_not_wait) {
  const Late late;
  Run<Cuda, bf16> t(with_graphs<bf16>(true));
  std::optional<arch::emulated::Counts> before;
  index_t compared = 0;
  for (auto step : t.train(items, 8)) {
    const auto now = counts();
    if (before && step.number() > 3) {
      BOOST_TEST(now.graphs - before->graphs == 3);
      BOOST_TEST(now.kernels == before->kernels);
      BOOST_TEST(now.captures == before->captures);
      BOOST_TEST(now.waits == before->waits);
      ++compared;
    }
    before = now;
  }
  BOOST_TEST(compared == 5);
}

BOOST_AUTO_TEST_CASE(means_of_the_log_are_those_of_all_steps) {
  const auto logged = [](bool graphs) {
    const TemporaryFolder folder;
    Run<Cuda, float> t(with_graphs<float>(graphs, folder.path().string()));
    for (auto step : t.train(items, 9))
      if (step.every(3)) step.log();
    std::ifstream in(folder.path() / "log.jsonl");
    std::string text;
    for (std::string line; std::getline(in, line);) text += line.substr(0, line.find("\"seconds_per_step\"")) + '\n';
    return text;
  };
  const std::string expected = logged(false);
  BOOST_TEST(expected.find("\"step\":9") != std::string::npos, expected);
  const Late late;
  BOOST_TEST(logged(true) == expected);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_resumed_run_has_the_bits_of_one_that_was_not, T, Types) {
  const Late late;
  const TemporaryFolder whole, parts;
  const Trace expected = trained<T>(with_graphs<T>(true, whole.path().string()), 8, false);
  trained<T>(with_graphs<T>(true, parts.path().string()), 4, false);
  BOOST_TEST((trained<T>(with_graphs<T>(true, parts.path().string()), 8, false) == expected));
}

BOOST_AUTO_TEST_CASE(skipped_steps_change_nothing_and_are_counted) {
  const auto run = [](bool graphs, bool ask) {
    auto o = with_graphs<bf16>(graphs);
    o.lr = breaking(4);
    Run<Cuda, bf16> t(std::move(o));
    Trace trace;
    for (auto step : t.train(items, 8))
      if (ask) add(trace, step.report());
    BOOST_TEST(t.skipped() == 3);
    BOOST_TEST(t.last().skipped);
    for (const ParamInfo& p : t.engine().store().parameters()) {
      const auto x = t.parameter_values(p.name), e = t.ema_values(p.name);
      trace.state.insert(trace.state.end(), x.begin(), x.end());
      trace.state.insert(trace.state.end(), e.begin(), e.end());
    }
    for (double& x : trace.reports) x = std::isfinite(x) ? x : -1;
    for (float& x : trace.state) x = std::isfinite(x) ? x : -1;
    return trace;
  };
  const Trace expected = run(false, true);
  const Late late;
  BOOST_TEST((run(true, true) == expected));
  BOOST_TEST((run(true, false).state == expected.state));
}

BOOST_AUTO_TEST_CASE(steps_go_on_when_the_gradient_is_finite_again) {
  const auto run = [](bool graphs) {
    auto o = with_graphs<float>(graphs);
    Run<Cuda, float> t(std::move(o));
    Trace trace;
    std::vector<float> kept;
    const std::string name = "blocks.1.mlp.fc1.weight";
    for (auto step : t.train(items, 9)) {
      if (step.number() == 4) {
        kept = t.parameter_values(name);
        t.set_parameter(name, std::vector<float>(kept.size(), std::numeric_limits<float>::infinity()));
      }
      if (step.number() == 6) t.set_parameter(name, kept);
      if (step.number() == 9) add(trace, step.report());
    }
    BOOST_TEST(t.skipped() == 2);
    trace.state = everything(t);
    return trace;
  };
  const Trace expected = run(false);
  const Late late;
  BOOST_TEST((run(true) == expected));
}

BOOST_AUTO_TEST_CASE(too_many_skipped_steps_are_an_error_at_most_one_step_late) {
  for (const int most : {1, 2}) {
    const Late late;
    auto o = with_graphs<float>(true);
    o.lr = breaking(4);
    o.max_skipped = most;
    Run<Cuda, float> t(std::move(o));
    index_t last = 0;
    const auto all = [&] {
      for (auto step : t.train(items, 12)) last = step.number();
    };
    BOOST_CHECK_EXCEPTION(all(), Error, says({"expected finite gradients", std::to_string(most)}));
    BOOST_TEST(last >= 4 + most);
    BOOST_TEST(last <= 5 + most);
    BOOST_TEST(t.skipped() == most);
  }
}

BOOST_AUTO_TEST_CASE(a_late_error_names_no_parameter_if_the_next_gradients_are_finite) {
  const Late late;
  auto o = with_graphs<float>(true);
  o.max_skipped = 1;
  Run<Cuda, float> t(std::move(o));
  const std::string name = "blocks.1.mlp.fc1.weight";
  std::vector<float> kept;
  const auto all = [&] {
    for (auto step : t.train(items, 8)) {
      if (step.number() == 4) kept = t.parameter_values(name);
      if (step.number() == 4) t.set_parameter(name, std::vector<float>(kept.size(), std::nanf("")));
      if (step.number() == 5) t.set_parameter(name, kept);
    }
  };
  BOOST_CHECK_EXCEPTION(all(), Error, [](const Error& e) { return std::string(e.what()).ends_with("row without"); });
  BOOST_TEST((t.parameter_values(name) == kept));
}

BOOST_AUTO_TEST_CASE(batches_with_given_draws_are_launched_within_a_replayed_run) {
  const Given given;
  using Model = Carried<float>;
  const auto run = [&](bool graphs) {
    Run<Cuda, float> t(with_graphs<float>(graphs));
    Trace trace;
    for (auto step : t.train(items, 8)) {
      if (step.number() == 6) t.engine().workspace().thaw();  // another size takes other memory
      if (step.number() == 6)
        add(trace, t.step(given.batch<Model>(t.backend()), given.draws<Model>(t.backend())));
      else
        add(trace, step.report());
    }
    trace.state = everything(t);
    return trace;
  };
  BOOST_TEST((run(true) == run(false)));
}

namespace {

struct Names : LaunchObserver {
  long launches = 0;
  void before(const char*, const Cost&) override { ++launches; }
  void after(const char*) override {}
};

/// Reads the device in the middle of a step, which cannot be captured.
struct Reading {
  struct Nothing {};
  template <class Model>
  struct Parameters {
    static constexpr void visit(auto&, auto&&) {}
  };
  auto taps() const { return Taps<1>{{1}}; }
  template <class P>
  auto operator()(P& pass, const auto&) const {
    const auto loss = eval(mean(square(pass.student(Layer<1>{}))));
    if (!pass.context().planning()) pass.context().backend().wait();
    return pass.weighted(constant(0.5), loss);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(an_observer_sees_the_launches_of_a_step) {
  Names names;
  Run<Cuda, float> t(with_graphs<float>(true));
  long graphs = 0;
  for (auto step : t.train(items, 8)) {
    if (step.number() == 5) graphs = counts().graphs;
    if (step.number() == 5) t.engine().workspace().observer = &names;
    if (step.number() == 7) BOOST_TEST(counts().graphs == graphs);
    if (step.number() == 7) t.engine().workspace().observer = nullptr;
  }
  BOOST_TEST(names.launches > 100);
  BOOST_TEST(counts().graphs == graphs + 3);
  BOOST_TEST((everything(t) == launched<float>().state));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_captured_is_launched) {
  const auto run = [](bool graphs) {
    Trainer<Carried<float>, Reading, Cuda, float> t(
        {.batch = 4, .accumulate = 2, .quiet = true, .backend = {.graphs = graphs}});
    const long before = counts().graphs;
    for (auto step : t.train(items, 6)) (void)step;
    BOOST_TEST(counts().graphs == before);
    return everything(t);
  };
  BOOST_TEST((run(true) == run(false)));
}
