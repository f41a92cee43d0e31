// Tests sums and means of values and of expressions with operands of every kind.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/reduce.hpp>
#include <sra/ops/reduce.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(reduce_op)

namespace {

constexpr auto total = [](auto x) { return sum(x); };
constexpr auto average = [](auto x) { return mean(x); };
constexpr auto per_sample = [](auto x) { return sample_sum(x); };
constexpr auto sample_average = [](auto x) { return sample_mean(x); };
constexpr auto over_tokens = [](auto x) { return mean_tokens(x); };

/// Sums of `count` results, each over every element that `of(i)` assigns to it, times scale.
template <class S>
std::vector<double> sums(const Argument<S>& o, index_t count, auto of, double scale) {
  std::vector<double> y(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < o.values.size(); ++i)
    y[static_cast<std::size_t>(of(static_cast<index_t>(i)))] += scale * o.values[i];
  return y;
}

/// Calls check(op, definition, accuracy, x).  A sum of n standard normal values may cancel: it is of the order of √n.
void each_case(auto check) {
  const auto all = [](const auto& o) {
    return sums(
        o, 1, [](index_t) { return index_t{0}; }, 1);
  };
  const auto mean_of_all = [](const auto& o) {
    return sums(
        o, 1, [](index_t) { return index_t{0}; }, 1 / double(o.shape.size()));
  };
  const auto each = [](const auto& o) {
    return sums(
        o, o.shape.batch, [&](index_t i) { return i / o.shape.sample_size(); }, 1);
  };
  const auto mean_of_each = [](const auto& o) {
    return sums(
        o, o.shape.batch, [&](index_t i) { return i / o.shape.sample_size(); }, 1 / double(o.shape.sample_size()));
  };
  const auto mean_of_tokens = [](const auto& o) {
    const auto of = [&](index_t i) { return i / o.shape.sample_size() * o.shape.width + i % o.shape.width; };
    return sums(o, o.shape.batch * o.shape.width, of, 1 / double(o.shape.sample_rows));
  };
  check(total, all, Accuracy{.terms = 5, .floor = 2}, argument<Shape<dynamic>>(5, 1));
  check(total, all, Accuracy{.terms = 9 * 65, .floor = 24}, argument<Shape<9, 65>>(1, 2));
  check(average, mean_of_all, Accuracy{.terms = 1260, .floor = 0.03},
        argument<Shape<dynamic, 2, 126>>(5, 3, {.gap = 5}));
  check(per_sample, each, Accuracy{.terms = 130, .floor = 11}, argument<Shape<dynamic, 130>>(2, 4));
  check(sample_average, mean_of_each, Accuracy{.terms = 9000, .floor = 0.01}, argument<Shape<dynamic, 9000>>(2, 5));
  check(sample_average, mean_of_each, Accuracy{.terms = 60, .floor = 0.1}, argument<Shape<dynamic, 4, 5, 3>>(2, 6));
  check(over_tokens, mean_of_tokens, Accuracy{.terms = 7, .floor = 0.4}, argument<Shape<dynamic, 7, 65>>(2, 7));
  check(over_tokens, mean_of_tokens, Accuracy{.terms = 1}, argument<Shape<dynamic, 1, 3>>(5, 8, {.gap = 2}));
}

/// An expression with an operand of every kind, reduced on the way and reduced after it was stored.
constexpr auto expression = [](auto x, auto per_sample_row, auto per_token, auto per_column, auto one) {
  return silu(x * per_sample_row + per_token) * (2 * per_column) - square(x) / (square(one) + 3);
};
constexpr auto fused = [](auto reduce) { return [reduce](auto... x) { return reduce(expression(x...)); }; };
constexpr auto unfused = [](auto reduce) { return [reduce](auto... x) { return reduce(eval(expression(x...))); }; };

/// Calls check(reduction, operands...).
void each_expression(auto check) {
  const auto with = [&](auto reduce) {
    check(reduce, argument<Shape<dynamic, 3, 65>>(2, 11, {.gap = 3}), argument<Shape<dynamic, 65>>(2, 12),
          argument<Shape<3, 65>>(1, 13), argument<Shape<65>>(1, 14), argument<Shape<1>>(1, 15));
  };
  with(total);
  with(sample_average);
  with(over_tokens);
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_case([](auto op, auto definition, const auto& accuracy, const auto& x) {
    agrees_with_formula(op, definition, accuracy, x);
  });
  each_expression([](auto reduce, const auto&... x) {
    agrees_with_definition(fused(reduce), unfused(reduce), Accuracy{.terms = 390, .floor = 1}, x...);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_case([](auto op, auto, const auto&, const auto& x) { matches_finite_differences(op, x); });
  each_expression([](auto reduce, const auto&... x) { matches_finite_differences(fused(reduce), x...); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_case([](auto op, auto, const auto& accuracy, const auto& x) { every_isa_agrees(op, accuracy, x); });
  each_expression(
      [](auto reduce, const auto&... x) { every_isa_agrees(fused(reduce), Accuracy{.terms = 390, .floor = 1}, x...); });
}

BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  each_case([](auto op, auto, const auto& accuracy, const auto& x) { bf16_agrees(op, 1.1, accuracy.floor, x); });
  each_expression([](auto reduce, const auto&... x) { bf16_agrees(fused(reduce), 1.1, 1, x...); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_case([](auto op, auto, const auto& accuracy, const auto& x) { accumulates(op, accuracy, x); });
  each_expression(
      [](auto reduce, const auto&... x) { accumulates(fused(reduce), Accuracy{.terms = 390, .floor = 1}, x...); });
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  each_expression([](auto reduce, const auto&... x) { ignores_constants(fused(reduce), x...); });
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  each_case([](auto op, auto, const auto&, const auto& x) {
    if constexpr (decltype(x.shape)::rank == 3)
      same_bits_for_any_thread_count(op, argument<Shape<dynamic, 64, 65>>(16, 6));
  });
}

BOOST_AUTO_TEST_CASE(nothing_is_kept_but_the_result) {
  Cpu cpu({.threads = 1});
  Workspace<Cpu> workspace(cpu);
  Recording<Cpu, float> context(workspace, {});
  const auto x = make<float>(context, Shape<dynamic, 64, 64>{4});
  fill(context, x.value, 0.5f);
  const std::size_t before = workspace.activations.used();
  const auto y = mean(square(x) * x + 1);
  BOOST_TEST(workspace.activations.used() - before == alignment_bytes + sra::detail::red_zone);
  BOOST_TEST(*y.value.data == 1.125f);
}

BOOST_AUTO_TEST_SUITE_END()
