// Tests the tape: order, marks, records with several results, gradients that are handed over, slots of parameters.
// SPDX-License-Identifier: MIT
#include <sra/autograd/var.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/expr/pointwise.hpp>
#include <sra/ops/slice.hpp>
#include <sra/ops/split.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <limits>
#include <vector>

using namespace sra;

namespace {

using Traced = Recording<Cpu, float>;
using X = Var<float, Shape<dynamic, 4>, Traced>;
using Half = Var<float, Shape<dynamic, 2>, Traced>;

/// A context with everything that it needs.
struct Fixture {
  Cpu cpu{{.threads = 1}};
  Workspace<Cpu> workspace{cpu};
  Traced context{workspace, {}};
  std::vector<float> memory = std::vector<float>(8, 0.0f);

  X value(float v) {
    memory.assign(8, v);
    return input(context, dense(memory.data(), Shape<dynamic, 4>{2}));
  }
};

float gradient_of(const X& x, index_t i = 0) { return static_cast<const float*>(x.slot->data)[i]; }

/// y1 = 2 x and y2 = 3 x, one record; counts its backward passes.
auto two_results(X x, int* calls) {
  auto y1 = x.like(), y2 = x.like();
  for (index_t i = 0; i < 8; ++i) y1.value.data[i] = 2 * x.value.data[i], y2.value.data[i] = 3 * x.value.data[i];
  return record(pack(y1, y2), [=](auto&, auto dy1, auto dy2) {
    ++*calls;
    const auto dx = x.grad();
    for (index_t i = 0; i < 8; ++i) {
      const float d = 2 * dy1.data[i] + 3 * dy2.data[i];
      dx.to.data[i] = dx.mode == GradMode::accumulate ? dx.to.data[i] + d : d;
    }
  });
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(tape, Fixture)

BOOST_AUTO_TEST_CASE(records_run_newest_first_and_are_gone_afterwards) {
  std::vector<int> order;
  const auto leave = [&order, this](int number) {
    mark(context, [to = &order, number](auto&) { to->push_back(number); });
  };
  for (int i = 0; i < 3; ++i) leave(i);
  BOOST_TEST(context.tape().size() == 3);
  Tape::Record* const here = context.tape().head();
  leave(3);
  leave(4);
  context.tape().unwind(context, here);
  BOOST_TEST(order == (std::vector<int>{4, 3}), boost::test_tools::per_element());
  BOOST_TEST(context.tape().size() == 3);
  context.tape().unwind(context);
  BOOST_TEST(order == (std::vector<int>{4, 3, 2, 1, 0}), boost::test_tools::per_element());
  BOOST_TEST(context.tape().size() == 0);
}

BOOST_AUTO_TEST_CASE(the_stack_is_popped_to_where_it_was_before_a_record_runs) {
  std::size_t before = 0, seen = 1;
  const X x = value(1);
  const X y = x * x;
  before = workspace.activations.used();
  mark(context, [&workspace = workspace, to = &seen](auto&) { *to = workspace.activations.used(); });
  X z = y * y;
  for (int i = 0; i < 5; ++i) z = z * 0.5;
  BOOST_TEST(workspace.activations.used() > before);
  backward(z);
  BOOST_TEST(seen == before);
}

BOOST_AUTO_TEST_CASE(a_mark_runs_when_everything_after_it_has_its_gradient) {
  struct Seen {
    float y = 0;
    bool x = true;
  } seen;
  const X x = value(3), y = x * x;
  mark(context, [to = &seen, x, y](auto&) { *to = {gradient_of(y), x.slot->filled}; });
  const X z = y * 5;
  backward(z);
  BOOST_TEST(seen.y == 5.0f);  // z's record ran before, y's did not
  BOOST_TEST(!seen.x);
  BOOST_TEST(gradient_of(x) == 30.0f);
}

BOOST_AUTO_TEST_CASE(of_two_results_an_unused_one_has_zero_gradient) {
  for (const bool first_used : {true, false}) {
    int calls = 0;
    const X x = value(1);
    const auto results = two_results(x, &calls);
    const X y = (first_used ? get<0>(results) : get<1>(results)) * 10;
    backward(y);
    BOOST_TEST(calls == 1);
    for (index_t i = 0; i < 8; ++i) BOOST_TEST(gradient_of(x, i) == (first_used ? 20.0f : 30.0f));
    BOOST_TEST(workspace.gradients.live() == 1u);  // x's alone
    workspace.roll_back();
  }
}

BOOST_AUTO_TEST_CASE(a_record_of_which_no_result_is_used_does_not_run) {
  int calls = 0;
  const X x = value(1);
  two_results(x, &calls);
  X(exp(x));  // takes no gradient buffer
  const X y = x * 2;
  two_results(y, &calls);
  backward(y);
  BOOST_TEST(calls == 0);
  BOOST_TEST(gradient_of(x) == 2.0f);
  BOOST_TEST(workspace.gradients.live() == 1u);
}

BOOST_AUTO_TEST_CASE(a_value_used_by_many_collects_all_of_its_gradients) {
  const X x = value(2);
  const X a = x * x, b = x * 3;
  const X y = a * b + x * x * x - b;  // 4 x³ − 3 x
  backward(y, 0.5f);
  BOOST_TEST(gradient_of(x) == 0.5f * (12 * 4 - 3));
}

BOOST_AUTO_TEST_CASE(a_stopped_gradient_stops) {
  const X x = value(2);
  const X y = x * x.stop_gradient();
  backward(y);
  BOOST_TEST(gradient_of(x) == 2.0f);
}

BOOST_AUTO_TEST_CASE(a_residual_costs_no_further_gradient) {
  const std::size_t buffer = 256 + sra::detail::red_zone;
  X x = value(0.5f);
  const X first = x;
  for (int block = 0; block < 6; ++block) {
    const X branch = x * 0.25;
    x = x + branch;
  }
  backward(x);
  // The residual stream's gradient is passed on, the branch has one of its own: two buffers, not three.
  BOOST_TEST(workspace.gradients.peak() == 2 * buffer);
  BOOST_TEST(gradient_of(first) == 3.814697265625f);  // 1.25⁶
  BOOST_TEST(workspace.gradients.live() == 1u);
}

BOOST_AUTO_TEST_CASE(a_gradient_is_not_handed_over_to_who_has_one_already) {
  const X x = value(0.5f);
  const X sum = x + 1;      // the last to be differentiated
  const X product = x * 3;  // the first
  const X y = sum * 1 + product;
  backward(y);
  BOOST_TEST(gradient_of(x) == 4.0f);
  workspace.roll_back();
  const X twice = value(0.5f);
  backward(X(twice + twice));
  BOOST_TEST(gradient_of(twice) == 2.0f);
}

BOOST_AUTO_TEST_CASE(parts_and_the_whole_share_one_gradient) {
  const auto expect = [this](auto use, float left, float right) {
    const X x = value(3);
    backward(use(x));
    for (index_t i = 0; i < 8; ++i) BOOST_TEST(gradient_of(x, i) == (i % 4 < 2 ? left : right));
    workspace.roll_back();
  };
  expect([](X x) { return Half(split<2>(x)[0] * 2); }, 2, 0);
  expect([](X x) { return Half(split<2>(x)[0] * split<2>(x)[1]); }, 3, 3);
  // The whole first, then a part: backward sees the part first; and the other way round.
  expect(
      [](X x) {
        const X y = x * 5;
        return Half(split<2>(y)[1] + split<2>(x)[1]);
      },
      0, 6);
  expect(
      [](X x) {
        const Half h = split<2>(x)[0] * 7;
        return Half(h + split<2>(X(x * 2))[0]);
      },
      9, 0);
}

BOOST_AUTO_TEST_CASE(a_parameter_is_written_first_then_added_to_and_never_when_frozen) {
  std::vector<float> gradient(8, std::numeric_limits<float>::quiet_NaN());
  unsigned char state = unwritten;
  const auto parameter = [&] {
    const X p = value(3);
    p.slot->data = gradient.data();
    p.slot->state = &state;
    return p;
  };
  parameter();  // nobody uses it
  backward(X(value(1) * 2));
  BOOST_TEST(state == unwritten);

  X p = parameter();
  backward(X(p * p));
  BOOST_TEST(state == written);
  BOOST_TEST(gradient[5] == 6.0f);
  p = parameter();  // the next micro-step adds
  backward(X(p * 4));
  BOOST_TEST(gradient[5] == 10.0f);

  gradient.assign(8, std::numeric_limits<float>::quiet_NaN());
  state = unwritten;  // the next step: only a part is used, the rest is zero
  p = parameter();
  backward(Half(slice<1, 2>(p) * 4));
  BOOST_TEST(state == written);
  for (index_t i = 0; i < 8; ++i)
    BOOST_TEST(gradient[static_cast<std::size_t>(i)] == (i % 4 == 1 || i % 4 == 2 ? 4.0f : 0.0f));
  p = parameter();
  backward(Half(slice<0, 2>(p) * 4));
  BOOST_TEST(gradient[0] == 4.0f);
  BOOST_TEST(gradient[1] == 8.0f);

  state = frozen;
  gradient.assign(8, -1.0f);
  p = parameter();
  const X y = value(1);
  backward(Half(slice<0, 2>(X(p * p * y)) * slice<2, 2>(p)));
  BOOST_TEST(state == frozen);
  BOOST_TEST(gradient == std::vector<float>(8, -1.0f), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(a_frozen_tape_refuses_to_grow) {
  const auto fill_tape = [this] {
    for (int i = 0; i < 1000; ++i) mark(context, [](auto&) {});
  };
  fill_tape();
  context.tape().clear();
  context.tape().freeze();
  BOOST_CHECK_NO_THROW(fill_tape());
  BOOST_CHECK_THROW(for (int i = 0; i < 100; ++i) fill_tape(), FrozenError);
  workspace.roll_back();
  BOOST_TEST(context.tape().size() == 0);
  BOOST_CHECK_NO_THROW(fill_tape());
}

BOOST_AUTO_TEST_SUITE_END()
