// Tests contexts and workspaces: untraced values, planning, freezing, roll-back, observers.
// SPDX-License-Identifier: MIT
#include <sra/autograd/var.hpp>
#include <sra/cpu/matmul.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/cpu/reduce.hpp>
#include <sra/cpu/softmax.hpp>
#include <sra/expr/pointwise.hpp>
#include <sra/ops/concat.hpp>
#include <sra/ops/matmul.hpp>
#include <sra/ops/reduce.hpp>
#include <sra/ops/softmax.hpp>
#include <sra/ops/split.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <numeric>
#include <string>
#include <vector>

using namespace sra;

namespace {

using Traced = Recording<Cpu, float>;
using Quiet = Detached<Cpu, float>;
using Tokens = Shape<dynamic, 7, 30>;

/// Something of everything, [B, 7, 30] to one number.
template <class X>
auto program(X x) {
  auto [q, k, v] = split<3>(x);
  const auto attended = matmul(softmax(matmul_nt(q, k)), v);
  const X y = x + concat(attended, eval(silu(v * 2)), q) * 0.5;
  return mean(square(y) + y * sample_mean(x));
}

/// The input's values, the loss and the input's gradient of one step.
struct Step {
  std::vector<float> x, gradient;
  float loss = 0;
  bool operator==(const Step& other) const { return loss == other.loss && gradient == other.gradient; }
};

template <class C>
auto input_of(C& context, Step& step, index_t batch) {
  step.x.resize(static_cast<std::size_t>(Tokens{batch}.size()));
  std::iota(step.x.begin(), step.x.end(), -50.0f);
  for (float& v : step.x) v *= 0x1p-7f;
  return input(context, dense(step.x.data(), Tokens{batch}));
}

/// One step, rolled back at its end; the program may throw on the way.
template <class F>
Step run_step(Workspace<Cpu>& workspace, index_t batch, F f) {
  Traced context(workspace, {});
  Step step;
  const auto x = input_of(context, step, batch);
  const auto loss = f(x);
  step.loss = workspace.planning ? 0.0f : *loss.value.data;
  backward(loss);
  if (!workspace.planning) {
    const auto* gradient = static_cast<const float*>(x.slot->data);
    step.gradient.assign(gradient, gradient + step.x.size());
  }
  workspace.roll_back();
  return step;
}
constexpr auto whole = [](auto x) { return program(x); };

struct Failure {};

/// y = x, whose kernel throws forward or backward.
template <class X>
X faulty(X x, bool forward) {
  X y = x.like();
  const auto fail = [](Cpu& cpu) {
    cpu.threads().for_each(100, [](index_t i, int) { i == 50 ? throw Failure{} : void(); });
  };
  if (forward) launch(x.context(), "faulty_forward", {}, fail);
  copy(x.context(), y.value, x.value);
  return record(y, [=](auto& context, auto dy) {
    deposit(context, x.grad(), dy);
    if (!forward) launch(context, "faulty_backward", {}, fail);
  });
}

struct Names : LaunchObserver {
  std::vector<std::string> names;
  int open = 0;
  double bytes = 0;
  void before(const char* kernel, const Cost& cost) override {
    names.emplace_back(kernel);
    bytes += cost.bytes;
    ++open;
  }
  void after(const char* kernel) override { open -= names.back() == kernel; }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(context)

BOOST_AUTO_TEST_CASE(detached_values_leave_no_records_and_no_slots) {
  Cpu cpu({.threads = 2});
  Workspace<Cpu> workspace(cpu);
  const Step traced = run_step(workspace, 3, whole);
  Quiet quiet(workspace, {});
  Step step;
  const auto x = input_of(quiet, step, 3);
  const auto y = program(x);
  BOOST_TEST(!x.slot);
  BOOST_TEST(!y.slot);
  BOOST_TEST(!split<2>(x)[0].slot);
  BOOST_TEST(quiet.tape().size() == 0);
  BOOST_TEST(workspace.gradients.live() == 0u);
  BOOST_TEST(*y.value.data == traced.loss);  // and they have the same bits
}

BOOST_AUTO_TEST_CASE(planning_counts_exactly_what_the_run_takes) {
  Cpu cpu({.threads = 2});
  Workspace<Cpu> workspace(cpu);
  const Step expected = run_step(workspace, 5, whole);

  // Planned addresses belong to nobody: a kernel that ran would end the program.
  Workspace<Cpu> planned(cpu);
  planned.plan(true);
  run_step(planned, 5, whole);
  const std::size_t activations = planned.activations.peak(), gradients = planned.gradients.peak();
  planned.plan(false);
  BOOST_TEST(activations > 0u);
  BOOST_TEST(gradients > 0u);

  planned.activations.reserve(activations);
  planned.gradients.reserve(gradients);
  planned.freeze();
  const Step step = run_step(planned, 5, whole);
  BOOST_TEST((step == expected));
  BOOST_TEST(planned.activations.peak() == activations);
  BOOST_TEST(planned.gradients.peak() == gradients);
}

BOOST_AUTO_TEST_CASE(a_frozen_workspace_runs_what_it_ran_before_and_refuses_more) {
  Cpu cpu({.threads = 2});
  Workspace<Cpu> workspace(cpu);
  const Step first = run_step(workspace, 3, whole);
  workspace.freeze();
  BOOST_TEST((run_step(workspace, 3, whole) == first));
  BOOST_CHECK_THROW(run_step(workspace, 4000, whole), FrozenError);
  workspace.roll_back();
  BOOST_TEST((run_step(workspace, 3, whole) == first));
  workspace.thaw();
  BOOST_CHECK_NO_THROW(run_step(workspace, 40, whole));
}

BOOST_AUTO_TEST_CASE(after_an_exception_in_a_kernel_the_next_step_has_the_same_bits) {
  Cpu cpu({.threads = 3});
  Workspace<Cpu> workspace(cpu);
  const Step expected = run_step(workspace, 3, whole);
  const std::size_t activations = workspace.activations.peak(), gradients = workspace.gradients.peak();
  for (const bool forward : {true, false}) {
    const auto fails = [forward](auto x) { return program(faulty(decltype(x)(x * 1), forward)); };
    BOOST_CHECK_THROW(run_step(workspace, 3, fails), Failure);
    BOOST_TEST((forward ? workspace.activations.used() : workspace.gradients.live()) > 0u);
    workspace.roll_back();
    BOOST_TEST(workspace.activations.used() == 0u);
    BOOST_TEST(workspace.gradients.live() == 0u);
    BOOST_TEST(workspace.tape.size() == 0);
    BOOST_TEST((run_step(workspace, 3, whole) == expected));
  }
  // What failed asked for a little more; the steps after it do not.
  workspace.freeze();
  BOOST_TEST((run_step(workspace, 3, whole) == expected));
  BOOST_TEST(workspace.activations.peak() >= activations);
  BOOST_TEST(workspace.gradients.peak() >= gradients);
}

BOOST_AUTO_TEST_CASE(an_observer_sees_every_launch_also_while_planning) {
  Cpu cpu({.threads = 1});
  Workspace<Cpu> workspace(cpu);
  Names run, planned;
  workspace.observer = &run;
  const auto few = [](auto x) { return mean(square(softmax(x))); };
  run_step(workspace, 2, few);
  BOOST_TEST(run.names == (std::vector<std::string>{"softmax_forward", "reduce_forward", "fill", "pointwise_backward",
                                                    "softmax_backward"}),
             boost::test_tools::per_element());
  BOOST_TEST(run.open == 0);
  BOOST_TEST(run.bytes > 0.0);
  workspace.observer = &planned;
  workspace.plan(true);
  run_step(workspace, 2, few);
  BOOST_TEST(planned.names == run.names, boost::test_tools::per_element());
  BOOST_TEST(planned.bytes == run.bytes);
}

BOOST_AUTO_TEST_CASE(statistics_are_wide_and_tensors_have_the_type_of_the_context) {
  BOOST_TEST((std::is_same_v<Recording<Cpu, float>::wide, float>));
  BOOST_TEST((std::is_same_v<Recording<Cpu, double>::wide, double>));
  BOOST_TEST((std::is_same_v<Recording<Cpu, bf16>::wide, float>));
  Cpu cpu({.threads = 1});
  Workspace<Cpu> workspace(cpu);
  Traced context(workspace, {});
  const auto tokens = context.tensor<float>(Shape<dynamic, 3, 5>{2});
  BOOST_TEST(tokens.pitch == 8);
  BOOST_TEST(workspace.activations.used() == 256 + sra::detail::red_zone);
}

BOOST_AUTO_TEST_SUITE_END()
