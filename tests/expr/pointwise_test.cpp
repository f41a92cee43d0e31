// Tests fused expressions over operands of every kind: values, gradients, layouts, shapes of results.
// SPDX-License-Identifier: MIT
#include "../ops/op_check.hpp"

#include <sra/ops/slice.hpp>
#include <sra/ops/split.hpp>

#include <array>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(pointwise)

namespace {

/// Every operation at once, in an order that no operand can hand its gradient over.
constexpr auto mixed = [](auto x, auto leaf) { return square(x * leaf - 0.25) * leaf - x * x; };
/// The operand's gradient is that of the sum: it may be handed over.
constexpr auto residual = [](auto x, auto leaf) { return x + square(x) * leaf; };

/// The second operand without a gradient: known when compiled, and known when run.
constexpr auto with_fixed = [](auto x, auto leaf) { return mixed(x, fixed(leaf)); };
constexpr auto with_stopped = [](auto x, auto leaf) { return mixed(x, leaf.stop_gradient()); };
/// A sum whose gradient cannot become that of x, which is a part of something.
constexpr auto residual_of_part = [](auto x, auto leaf) { return slice<0, 65>(x) + square(leaf) * leaf; };

template <class T>
T mixed_value(T x, T l) {
  const T z = x * l - T(0.25);
  return z * z * l - x * x;
}

/// The element of the leaf that goes with element (b, row, column) of the destination, by the definition of
/// broadcasting.
template <class Out, class In>
double broadcast_element(const Argument<In>& leaf, index_t b, index_t row, index_t column) {
  const index_t c = In::width == 1 ? 0 : column, r = In::sample_rows == 1 ? 0 : row;
  const index_t sample = In::batched ? b : 0;
  return leaf.values[static_cast<std::size_t>((sample * In::sample_rows + r) * In::width + c)];
}

template <class Out, class In>
std::vector<double> mixed_formula(const Argument<Out>& x, const Argument<In>& leaf) {
  std::vector<double> y;
  for (index_t b = 0; b < x.shape.samples(); ++b)
    for (index_t r = 0; r < Out::sample_rows; ++r)
      for (index_t c = 0; c < Out::width; ++c) {
        const auto i = static_cast<std::size_t>((b * Out::sample_rows + r) * Out::width + c);
        y.push_back(mixed_value(x.values[i], broadcast_element<Out>(leaf, b, r, c)));
      }
  return y;
}

/// Calls check(x, leaf) for every kind of operand; the sums of the leaf's gradient are at most 390 long.
void each_kind(auto check) {
  const auto tokens = argument<Shape<dynamic, 3, 65>>(2, 1, {.gap = 3});
  check(tokens, argument<Shape<dynamic, 3, 65>>(2, 2));                        // same shape, other layout
  check(tokens, argument<Shape<dynamic, 65>>(2, 3, {.gap = 65}));              // one row per sample
  check(tokens, argument<Shape<dynamic, 1, 65>>(2, 4));                        // the same with a token axis
  check(tokens, argument<Shape<dynamic>>(2, 5));                               // one element per sample
  check(tokens, argument<Shape<dynamic, 3, 1>>(2, 6));                         // one element per row
  check(tokens, argument<Shape<3, 65>>(1, 7, {.gap = 1}));                     // the same for every sample
  check(tokens, argument<Shape<65>>(1, 8));                                    // the same for every row
  check(tokens, argument<Shape<1>>(1, 9));                                     // one element
  check(argument<Shape<dynamic, 5, 1>>(2, 10), argument<Shape<5, 1>>(1, 11));  // rows of one element
  check(argument<Shape<dynamic>>(5, 13), argument<Shape<1>>(1, 14));           // a column
  check(argument<Shape<3, 12>>(1, 15), argument<Shape<12>>(1, 16));            // no batch
  // Images: a sample is one row when all operands are dense or one element per sample.
  check(argument<Shape<dynamic, 5, 7, 3>>(2, 17), argument<Shape<dynamic>>(2, 18));
  check(argument<Shape<dynamic, 5, 7, 3>>(2, 17), argument<Shape<dynamic, 5, 7, 3>>(2, 19, {.gap = 2}));
  check(argument<Shape<dynamic, 5, 7, 3>>(2, 17), argument<Shape<3>>(1, 20));
  check(argument<Shape<dynamic, 5, 7, 3>>(2, 17, {.gap = 1}), argument<Shape<dynamic>>(2, 18));
}

/// The same for one of each way to lay out the sums of a leaf's gradient: where the expression or its type is in question.
void some_kinds(auto check) {
  const auto tokens = argument<Shape<dynamic, 3, 65>>(2, 1, {.gap = 3});
  check(tokens, argument<Shape<dynamic, 3, 65>>(2, 2));
  check(tokens, argument<Shape<dynamic, 65>>(2, 3, {.gap = 65}));
  check(tokens, argument<Shape<65>>(1, 8));
  check(argument<Shape<dynamic, 5, 7, 3>>(2, 17), argument<Shape<dynamic>>(2, 18));
}

constexpr Accuracy accuracy{.terms = 390, .floor = 1};

using Groups = std::array<std::int32_t, 15>;
constexpr Groups group_of_token{0, 1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 0, 0, 1, 0};  // [3, 5]: one sample has one group only

template <index_t G>
constexpr auto per_group = [](auto x, auto values) {
  static const Shared<std::int32_t> one_group(15), two_groups(group_of_token.begin(), group_of_token.end());
  const auto map = dense((G == 1 ? one_group : two_groups).data(), Shape<dynamic, 5>{3});
  return mixed(x, grouped(values, map));
};
/// What grouped operands mean: the row of each token's group.
constexpr auto selected_by_group = [](auto x, auto values) {
  auto second = x.like();
  for (index_t b = 0; b < 3; ++b)
    for (index_t t = 0; t < 5; ++t)
      for (index_t i = 0; i < 65; ++i)
        second.value.row(b, t)[i] =
            static_cast<typename decltype(x)::type>(group_of_token[static_cast<std::size_t>(b * 5 + t)]);
  const auto mask = second.stop_gradient();
  const auto first_row = slice_rows<0, 1>(values), second_row = slice_rows<1, 1>(values);
  const auto row = eval((1 - mask) * first_row + mask * second_row);
  return mixed(x, row);
};

/// A stencil: neighbouring columns, which lie in one gradient and overlap.
constexpr auto differences = [](auto x) { return square(slice<1, 129>(x) - slice<0, 129>(x)); };

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_kind([](const auto& x, const auto& leaf) {
    agrees_with_formula(
        mixed, [](const auto& a, const auto& b) { return mixed_formula(a, b); }, accuracy, x, leaf);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_kind([](const auto& x, const auto& leaf) { matches_finite_differences(mixed, x, leaf); });
  some_kinds([](const auto& x, const auto& leaf) { matches_finite_differences(residual, x, leaf); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_kind([](const auto& x, const auto& leaf) { every_isa_agrees(mixed, accuracy, x, leaf); });
}

BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  some_kinds([](const auto& x, const auto& leaf) {
    bf16_agrees(mixed, 3.3, 0, x, leaf);  // x is an operand three times: its gradient is rounded as often
    bf16_agrees(residual, 2.2, 0, x, leaf);
  });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_kind([](const auto& x, const auto& leaf) { accumulates(mixed, accuracy, x, leaf); });
  some_kinds([](const auto& x, const auto& leaf) { accumulates(residual, accuracy, x, leaf); });
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  each_kind([](const auto& x, const auto& leaf) { ignores_constants(mixed, x, leaf); });
  some_kinds([](const auto& x, const auto& leaf) { ignores_constants(residual, x, leaf); });
}

BOOST_AUTO_TEST_CASE(a_sum_of_a_part_adds_to_the_parts_gradient) {
  const auto x = argument<Shape<dynamic, 3, 70>>(2, 34);
  const auto leaf = argument<Shape<dynamic, 3, 65>>(2, 35);
  matches_finite_differences(residual_of_part, x, leaf);
  accumulates(residual_of_part, accuracy, x, leaf);
  ignores_constants(residual_of_part, x, leaf);
}

BOOST_AUTO_TEST_CASE(fixed_operands_have_no_gradient_and_no_record) {
  some_kinds([](const auto& x, const auto& leaf) {
    Machine<float> machine;
    BOOST_TEST((machine.run(with_fixed, {1, 2}, -1, x, leaf) == machine.run(with_stopped, {1, 2}, -1, x, leaf)));
  });
  const auto square_of_fixed = [](auto x) {
    const auto y = eval(fixed(x) * fixed(x));
    BOOST_TEST(x.context().tape().size() == 0);
    BOOST_TEST(!y.slot);
    return y * x;
  };
  agrees_with_definition(
      square_of_fixed, [](auto x) { return eval(x * x).stop_gradient() * x; }, accuracy,
      argument<Shape<dynamic, 65>>(2, 36));
}

BOOST_AUTO_TEST_CASE(grouped_operands_take_the_row_of_the_tokens_group) {
  const auto x = argument<Shape<dynamic, 5, 65>>(3, 21);
  const auto one = argument<Shape<dynamic, 1, 65>>(3, 22);
  const auto two = argument<Shape<dynamic, 2, 65>>(3, 23, {.gap = 3});
  agrees_with_definition(per_group<1>, mixed, accuracy, x, one);
  agrees_with_definition(per_group<2>, selected_by_group, accuracy, x, two);
  matches_finite_differences(per_group<2>, x, two);
  every_isa_agrees(per_group<2>, accuracy, x, two);
  accumulates(per_group<2>, accuracy, x, two);
  ignores_constants(per_group<2>, x, two);
}

BOOST_AUTO_TEST_CASE(operands_of_different_batches_and_groups_out_of_range_are_refused) {
  sra::Cpu cpu{{.threads = 1}};
  sra::Workspace<sra::Cpu> workspace(cpu);
  sra::Detached<sra::Cpu, float> c(workspace, {});
  const auto value = [&]<class S>(S shape) {
    const auto v = make<float>(c, shape);
    fill(c, v.value, 1.0f);
    return v.stop_gradient();
  };
  const auto says = [](const char* words) {
    return [words](const sra::Error& e) { return std::string(e.what()).find(words) != std::string::npos; };
  };
  const auto two = value(sra::Shape<sra::dynamic, 8>{2}), four = value(sra::Shape<sra::dynamic, 8>{4});
  BOOST_CHECK_EXCEPTION(eval(two + four), sra::Error, says("one batch, expected 2, got 4"));
  BOOST_CHECK_EXCEPTION(eval(value(sra::Shape<sra::dynamic, 3, 8>{4}) * two), sra::Error, says("expected 4, got 2"));
  std::vector<std::int32_t> map{0, 1, 0, 1, 2, 0};
  const auto group = sra::dense(std::as_const(map).data(), sra::Shape<sra::dynamic, 3>{2});
  const auto groups = value(sra::Shape<sra::dynamic, 2, 8>{2});
  BOOST_CHECK_EXCEPTION(sra::grouped(groups, group), sra::Error,
                        says("sample 1, token 1: expected a group in [0, 2), got 2"));
  map[4] = 1;
  BOOST_CHECK_EXCEPTION(eval(value(sra::Shape<sra::dynamic, 3, 8>{3}) + sra::grouped(groups, group)), sra::Error,
                        says("expected 3, got 2"));
  BOOST_CHECK_NO_THROW(eval(value(sra::Shape<sra::dynamic, 3, 8>{2}) + sra::grouped(groups, group)));
}

BOOST_AUTO_TEST_CASE(every_function_has_its_derivative) {
  const auto x = argument<Shape<dynamic, 65>>(2, 24),
             y = argument<Shape<dynamic, 65>>(2, 25, {.scale = 0.5, .offset = 3});
  const auto check = [&](auto f) { matches_finite_differences(f, x, y); };
  check([](auto a, auto b) { return a + b; });
  check([](auto a, auto b) { return a - 2 * b; });
  check([](auto a, auto b) { return a * b; });
  check([](auto a, auto b) { return a / b; });
  check([](auto a, auto b) { return 1 / b - a; });
  check([](auto a, auto b) { return -a * exp(-b); });
  check([](auto a, auto b) { return square(a) * abs(b); });
  check([](auto a, auto b) { return abs(a - 10) * tanh(a) + sigmoid(b); });
  check([](auto a, auto b) { return silu(a) - gelu(b) * gelu(a); });
  check([](auto a, auto b) { return map<SmoothAbs>(a, 0.5) * b; });
}

BOOST_AUTO_TEST_CASE(functions_agree_with_the_standard_library) {
  const auto x = argument<Shape<dynamic, 130>>(2, 26, {.scale = 3});
  const auto check = [&](auto op, auto f) {
    agrees_with_formula(
        op,
        [f](const auto& o) {
          std::vector<double> y;
          for (const double v : o.values) y.push_back(f(v));
          return y;
        },
        Accuracy{}, x);
  };
  check([](auto a) { return tanh(a); }, [](double v) { return std::tanh(v); });
  check([](auto a) { return sigmoid(a); }, [](double v) { return 1 / (1 + std::exp(-v)); });
  check([](auto a) { return gelu(a); },
        [](double v) {
          return v / 2 * (1 + std::tanh(std::sqrt(2 / 3.14159265358979323846) * (v + 0.044715 * v * v * v)));
        });
  check([](auto a) { return map<SmoothAbs>(a, 0.5); },
        [](double v) { return std::abs(v) < 0.5 ? v * v : std::abs(v) - 0.25; });
  check([](auto a) { return -abs(a); }, [](double v) { return -std::abs(v); });
}

BOOST_AUTO_TEST_CASE(the_result_has_the_shape_that_all_operands_follow) {
  using C = Recording<Cpu, float>;
  using X = Var<float, Shape<dynamic, 3, 65>, C>;
  using Row = Var<float, Shape<65>, C>;
  using Column = Var<float, Shape<dynamic>, C>;
  static_assert(std::is_same_v<decltype(eval(std::declval<Row>() * std::declval<X>() + std::declval<Column>())), X>);
  static_assert(std::is_same_v<decltype(eval(1 - std::declval<Column>() * 2)), Column>);
  BOOST_TEST((detail::broadcast_of<Shape<dynamic, 3, 65>, Shape<dynamic, 4, 65>>() == Broadcast::none));
  BOOST_TEST((detail::broadcast_of<Shape<3, 65>, Shape<dynamic, 65>>() == Broadcast::none));
  BOOST_TEST((detail::broadcast_of<Shape<dynamic, 3, 65>, Shape<3>>() == Broadcast::none));
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  const auto x = argument<Shape<dynamic, 64, 65>>(16, 27);
  same_bits_for_any_thread_count(mixed, x, argument<Shape<dynamic, 65>>(16, 28));
  same_bits_for_any_thread_count(mixed, x, argument<Shape<65>>(1, 29));
  same_bits_for_any_thread_count(mixed, x, argument<Shape<dynamic>>(16, 30));
  same_bits_for_any_thread_count(mixed, x, argument<Shape<64, 65>>(1, 31));
}

BOOST_AUTO_TEST_CASE(overlapping_parts_of_a_value_may_meet_in_one_expression) {
  const auto x = argument<Shape<dynamic, 300, 130>>(3, 32);
  const Outcome one = Machine<float>({.threads = 1}).run(differences, {1}, -1, x);
  Machine<float> machine({.threads = 3});
  for (int i = 0; i < 100; ++i) BOOST_TEST_REQUIRE((machine.run(differences, {1}, -1, x) == one));
  matches_finite_differences(differences, argument<Shape<dynamic, 2, 130>>(2, 33));
}

BOOST_AUTO_TEST_SUITE_END()
