// Holds kernels of every kind, optimised as users compile them, to the double reference in every instruction set.
// SPDX-License-Identifier: MIT
#include "../ops/op_check.hpp"

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(instruction_sets)

namespace {

/// Rows of a few vectors and a rest, with gaps between them.
using Tokens = Shape<dynamic, 5, 67>;
Argument<Tokens> tokens(std::uint64_t seed) { return argument<Tokens>(3, seed, {.gap = 5}); }
auto per_sample(std::uint64_t seed) { return argument<Shape<dynamic, 67>>(3, seed); }
auto per_column(std::uint64_t seed) { return argument<Shape<67>>(1, seed, {.parameter = true}); }

/// In float, double and bf16.  The errors allowed are those of the op's own tests, where they are explained.
template <class Op, class... S>
void agrees(const Op& op, const Accuracy& accuracy, double roundings, const Argument<S>&... operands) {
  every_isa_agrees(op, accuracy, operands...);
  bf16_agrees(op, roundings, accuracy.floor, operands...);
}

}  // namespace

BOOST_AUTO_TEST_CASE(expressions) {
  constexpr auto op = [](auto x, auto row, auto column) {
    return silu(x * row) * column - square(x) / (square(row) + 3);
  };
  agrees(op, Accuracy{.terms = 335, .floor = 1}, 2.2, tokens(1), per_sample(2),
         per_column(3));  // x is an operand twice
}

BOOST_AUTO_TEST_CASE(reductions) {
  constexpr auto op = [](auto x) { return mean_tokens(square(x)); };
  agrees(op, Accuracy{.terms = 5, .floor = 1}, 1.1, tokens(1));
}

BOOST_AUTO_TEST_CASE(norms) {
  constexpr auto with_residual = [](auto x, auto gate, auto branch, auto shift, auto scale) {
    const auto [sum, norm] = residual_modulated_norm(x, gate, branch, shift, scale, 0.5f);
    return 0.5 * sum + norm * norm;
  };
  constexpr auto affine = [](auto x, auto weight, auto bias) { return affine_norm(x, weight, bias, 0.5f); };
  const Accuracy accuracy{.terms = 335, .floor = 1};
  agrees(with_residual, accuracy, 2, tokens(1), per_sample(2), tokens(3), per_sample(4), per_sample(5));
  agrees(affine, accuracy, 1.1, tokens(1), per_column(2), per_column(3));
}

BOOST_AUTO_TEST_CASE(rows_as_probabilities_and_directions) {
  constexpr auto probabilities = [](auto x) { return softmax(x); };
  constexpr auto directions = [](auto x) { return normalize(x); };
  constexpr auto losses = [](auto x) {
    static const Shared<std::int32_t> labels{66, 0, 31};
    return cross_entropy(x, dense(labels.data(), Shape<dynamic>{3}));
  };
  agrees(probabilities, Accuracy{.terms = 67}, 5, tokens(1));
  agrees(directions, Accuracy{.terms = 67}, 1.1, tokens(1));
  const Accuracy scores{.terms = 67, .floor = 4};
  agrees(losses, scores, 0x1p-15 * scores.factor * std::sqrt(scores.terms), per_sample(1));
}

BOOST_AUTO_TEST_CASE(distances) {
  constexpr auto features = [](auto a, auto b) { return cosine_features(a, b); };
  constexpr auto columns = [](auto a, auto b) { return cosine_tokens(a, b); };
  agrees(features, Accuracy{.terms = 67, .floor = 0.01}, 1.1, tokens(1), tokens(2));
  agrees(columns, Accuracy{.terms = 67, .floor = 0.01}, 1.1, tokens(1), tokens(2));
}

BOOST_AUTO_TEST_CASE(layers) {
  constexpr auto op = [](auto x, auto w1, auto b1, auto w2, auto b2) {
    return feed_forward<false>(x, weight_of(w1), b1, weight_of(w2), b2);
  };
  agrees(op, Accuracy{.terms = 2 * 5 * 48, .floor = 1}, 3, argument<Shape<dynamic, 5, 35>>(3, 1, {.gap = 5}),
         argument<Shape<48, 35>>(1, 2, {.scale = 0.17, .parameter = true}),
         argument<Shape<48>>(1, 3, {.parameter = true}),
         argument<Shape<35, 48>>(1, 4, {.scale = 0.14, .parameter = true}),
         argument<Shape<35>>(1, 5, {.parameter = true}));
}

BOOST_AUTO_TEST_SUITE_END()
