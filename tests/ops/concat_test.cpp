// Tests columns after columns and tokens after tokens.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/ops/concat.hpp>
#include <sra/ops/split.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(concat_op)

namespace {

constexpr auto columns = [](auto... x) { return concat(x...); };
constexpr auto tokens = [](auto... x) { return concat_rows(x...); };
constexpr Accuracy exact{.factor = 0};

/// Pieces of each operand in turn; a piece is piece(operand) elements long.
template <class Piece, class... S>
std::vector<double> interleave(Piece piece, const Argument<S>&... x) {
  std::vector<double> y;
  const std::size_t pieces = std::max({x.values.size() / piece(x)...});
  const auto append = [&](const auto& o, std::size_t p) {
    for (std::size_t i = p * piece(o); i < (p + 1) * piece(o); ++i) y.push_back(o.values[i]);
  };
  for (std::size_t p = 0; p < pieces; ++p) (append(x, p), ...);
  return y;
}

/// Calls check(op, definition, operands...).
void each_case(auto check) {
  const auto by_row = [](const auto&... o) {
    return interleave([](const auto& a) { return static_cast<std::size_t>(a.shape.width); }, o...);
  };
  const auto by_sample = [](const auto&... o) {
    return interleave([](const auto& a) { return static_cast<std::size_t>(a.shape.sample_size()); }, o...);
  };
  check(columns, by_row, argument<Shape<dynamic, 1>>(5, 1), argument<Shape<dynamic, 3>>(5, 2, {.gap = 4}));
  check(columns, by_row, argument<Shape<dynamic, 2, 63>>(2, 3), argument<Shape<dynamic, 2, 1>>(2, 4),
        argument<Shape<dynamic, 2, 130>>(2, 5, {.gap = 1}));
  check(tokens, by_sample, argument<Shape<dynamic, 3, 12>>(1, 6), argument<Shape<dynamic, 1, 12>>(1, 7));
  check(tokens, by_sample, argument<Shape<dynamic, 2, 65>>(5, 8, {.gap = 2}), argument<Shape<dynamic, 3, 65>>(5, 9),
        argument<Shape<dynamic, 1, 65>>(5, 10));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_case([](auto op, auto definition, const auto&... x) { agrees_with_formula(op, definition, exact, x...); });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_case([](auto op, auto, const auto&... x) { matches_finite_differences(op, x...); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_case([](auto op, auto, const auto&... x) { every_isa_agrees(op, exact, x...); });
}

BOOST_AUTO_TEST_CASE(bf16_is_exact) {
  each_case([](auto op, auto, const auto&... x) { bf16_agrees(op, 0, 0, x...); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_case([](auto op, auto, const auto&... x) { accumulates(op, Accuracy{}, x...); });
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  each_case([](auto op, auto, const auto&... x) { ignores_constants(op, x...); });
}

BOOST_AUTO_TEST_CASE(undoes_split_and_takes_an_operand_twice) {
  const auto x = argument<Shape<dynamic, 3, 12>>(2, 11);
  const auto undone = [](auto v) {
    auto [a, b] = sra::split<2>(v);
    return sra::concat(a, b);
  };
  agrees_with_formula(
      undone, [](const auto& o) { return o.values; }, exact, x);
  const auto doubled = [](auto v) { return sra::concat(v, v); };
  matches_finite_differences(doubled, x);
}

BOOST_AUTO_TEST_CASE(batches_must_agree) {
  BOOST_CHECK_THROW(
      Machine<float>().run(columns, {1}, -1, argument<Shape<dynamic, 3>>(2, 1), argument<Shape<dynamic, 3>>(3, 2)),
      Error);
}

BOOST_AUTO_TEST_SUITE_END()
