// Tests activation checkpointing: the same bits as without, in less memory.
// SPDX-License-Identifier: MIT
#include <sra/autograd/checkpoint.hpp>
#include <sra/cpu/matmul.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/cpu/softmax.hpp>
#include <sra/expr/pointwise.hpp>
#include <sra/ops/matmul.hpp>
#include <sra/ops/softmax.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <limits>
#include <vector>

using namespace sra;

namespace {

using Traced = Recording<Cpu, float>;

/// Some layers with a parameter and a condition.
struct Segment {
  int layers = 4;
  template <class X, class M, class P>
  X operator()(X x, M m, P weight) const {
    for (int i = 0; i < layers; ++i) {
      x = x + matmul(softmax(matmul_nt(x, x)), X(silu(x * m) * weight));
      x = x * 0.75;
    }
    return x;
  }
};

/// Segments within a checkpointed segment.
struct Nested {
  Segment inner{2};
  template <class X, class M, class P>
  X operator()(X x, M m, P weight) const {
    for (int i = 0; i < 2; ++i) x = checkpoint(inner, x, m, weight);
    return x;
  }
};

struct Outcome {
  std::vector<float> y, dx, dm, dweight;
  std::size_t activations = 0;
  int records = 0;
  bool same_bits(const Outcome& o) const { return y == o.y && dx == o.dx && dm == o.dm && dweight == o.dweight; }
};

/// Runs f(x, m, weight) and differentiates it.
template <class F>
Outcome run(Workspace<Cpu>& workspace, const F& f) {
  const Shape<dynamic, 6, 20> shape{3};
  std::vector<float> x(360), m(60), weight(20), dweight(20, std::numeric_limits<float>::quiet_NaN());
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = 0x1p-8f * static_cast<float>(i * 37 % 256) - 0.5f;
  for (std::size_t i = 0; i < m.size(); ++i) m[i] = 0x1p-6f * static_cast<float>(i * 11 % 64);
  for (std::size_t i = 0; i < weight.size(); ++i) weight[i] = 0.5f + 0x1p-5f * static_cast<float>(i);
  unsigned char state = unwritten;
  Traced context(workspace, {});
  const auto vx = input(context, dense(x.data(), shape));
  const auto vm = input(context, dense(m.data(), Shape<dynamic, 20>{3}));
  const auto vw = input(context, dense(weight.data(), Shape<20>{}));
  vw.slot->data = dweight.data();
  vw.slot->state = &state;
  const auto start = eval(vx * 1);
  const auto y = f(start, vm, vw);
  Outcome out;
  out.records = context.tape().size();
  const auto keep = [](std::vector<float>& to, auto view) {
    for (index_t r = 0; r < view.shape.rows(); ++r) to.insert(to.end(), view.row(r), view.row(r) + view.shape.width);
  };
  if (!workspace.planning) keep(out.y, y.value);
  backward(y);
  out.activations = workspace.activations.peak();
  if (!workspace.planning) {
    keep(out.dx, vx.at(vx.slot->data));
    keep(out.dm, vm.at(vm.slot->data));
    out.dweight = dweight;
  }
  BOOST_TEST(context.tape().size() == 0);
  workspace.roll_back();
  return out;
}

constexpr auto plain = [](auto... x) { return Segment{}(x...); };
const Segment segment;
const Nested nested;
constexpr auto checkpointed = [](auto... x) { return checkpoint(segment, x...); };
constexpr auto nested_once = [](auto... x) { return checkpoint(nested, x...); };

}  // namespace

BOOST_AUTO_TEST_SUITE(checkpoint)

BOOST_AUTO_TEST_CASE(has_the_same_bits_as_without_and_takes_less_memory) {
  Cpu cpu({.threads = 2});
  Workspace<Cpu> a(cpu), b(cpu), c(cpu);
  const Outcome without = run(a, plain), with = run(b, checkpointed), twice = run(c, nested_once);
  BOOST_TEST(with.same_bits(without));
  BOOST_TEST(twice.same_bits(without));
  BOOST_TEST(with.records == 2);  // the input's copy and the segment
  BOOST_TEST(with.activations <=
             without.activations + 4096);  // while the segment is run again: all of it, and its result
}

BOOST_AUTO_TEST_CASE(a_row_of_segments_keeps_the_results_of_segments_only) {
  const auto row = [](auto f) {
    return [f](auto x, auto m, auto weight) {
      for (int i = 0; i < 5; ++i) x = f(x, m, weight);
      return x;
    };
  };
  Cpu cpu({.threads = 1});
  Workspace<Cpu> a(cpu), b(cpu), one(cpu);
  const Outcome without = run(a, row(plain)), with = run(b, row(checkpointed)), single = run(one, plain);
  BOOST_TEST(with.same_bits(without));
  const std::size_t result = 3 * 6 * 20 * sizeof(float) + 256 + sra::detail::red_zone;
  BOOST_TEST(with.activations <= single.activations + 5 * result);
  BOOST_TEST(without.activations > 3 * single.activations);
}

BOOST_AUTO_TEST_CASE(is_a_plain_call_when_nothing_is_recorded) {
  Cpu cpu({.threads = 1});
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, float> quiet(workspace, {});
  std::vector<float> memory(60, 0.25f);
  const auto x = constant(quiet, dense(memory.data(), Shape<dynamic, 1, 20>{3}));
  const auto m = constant(quiet, dense(memory.data(), Shape<dynamic, 20>{3}));
  const auto weight = constant(quiet, dense(memory.data(), Shape<20>{}));
  const auto expected = Segment{}(x, m, weight);
  const auto y = sra::checkpoint(segment, x, m, weight);
  BOOST_TEST(quiet.tape().size() == 0);
  for (index_t i = 0; i < 60; ++i) BOOST_TEST(y.value.data[i] == expected.value.data[i]);
}

BOOST_AUTO_TEST_CASE(planning_counts_the_second_run_too) {
  Cpu cpu({.threads = 1});
  Workspace<Cpu> workspace(cpu);
  workspace.plan(true);
  run(workspace, nested_once);
  const std::size_t activations = workspace.activations.peak(), gradients = workspace.gradients.peak();
  workspace.plan(false);
  workspace.activations.reserve(activations);
  workspace.gradients.reserve(gradients);
  workspace.freeze();
  run(workspace, nested_once);
  BOOST_TEST(workspace.activations.peak() == activations);
  BOOST_TEST(workspace.gradients.peak() == gradients);
}

BOOST_AUTO_TEST_SUITE_END()
