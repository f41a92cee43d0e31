// Tests the feed-forward layer: against two layers and a GELU, with what GELU gives kept and made again.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/linear.hpp>
#include <sra/ops/feed_forward.hpp>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(feed_forward_op)

namespace {

template <bool Remake>
constexpr auto op = [](auto x, auto w1, auto b1, auto w2, auto b2) {
  return feed_forward<Remake>(x, weight_of(w1), b1, weight_of(w2), b2);
};
constexpr auto definition = [](auto x, auto w1, auto b1, auto w2, auto b2) {
  return linear(eval(gelu(linear(x, weight_of(w1), b1))), weight_of(w2), b2);
};

/// @tparam T tokens  @tparam D width  @tparam H hidden width
template <index_t T, index_t D, index_t H>
void with(auto check, Draw draw = {}) {
  const double in = 1 / std::sqrt(double(D)), out = 1 / std::sqrt(double(H));
  check(Accuracy{.terms = double(2 * T * H), .floor = 1}, argument<Shape<dynamic, T, D>>(2, 1, draw),
        argument<Shape<H, D>>(1, 2, {.scale = in, .parameter = true}), argument<Shape<H>>(1, 3, {.parameter = true}),
        argument<Shape<D, H>>(1, 4, {.scale = out, .parameter = true}), argument<Shape<D>>(1, 5, {.parameter = true}));
}
void each_size(auto check) {
  with<1, 3, 5>(check);
  with<4, 12, 48>(check, {.gap = 4});
  with<70, 33, 67>(check);  // more rows than one block of a product
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_size([](const Accuracy& accuracy, const auto&... operands) {
    agrees_with_definition(op<false>, definition, accuracy, operands...);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_size([](const Accuracy&, const auto&... operands) { matches_finite_differences(op<false>, operands...); });
}

BOOST_AUTO_TEST_CASE(every_instruction_set_agrees_with_the_double_reference) {
  each_size([](const Accuracy& accuracy, const auto&... operands) {
    every_isa_agrees(op<false>, accuracy, operands...);
    bf16_agrees(op<false>, 3, 1, operands...);
  });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_size([](const Accuracy& accuracy, const auto&... operands) {
    accumulates(op<false>, accuracy, operands...);
    ignores_constants(op<false>, operands...);
  });
}

BOOST_AUTO_TEST_CASE(what_is_made_again_has_the_same_bits) {
  each_size([](const Accuracy&, const auto&... operands) {
    for (const auto isa : backend::available_isas()) {
      Machine<float> machine({.isa = isa});
      Machine<bf16> half({.isa = isa});
      BOOST_TEST((machine.run(op<true>, {1, 2}, -1, operands...) == machine.run(op<false>, {1, 2}, -1, operands...)));
      BOOST_TEST((half.run(op<true>, {1, 2}, -1, operands...) == half.run(op<false>, {1, 2}, -1, operands...)));
    }
  });
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  with<150, 40, 160>(
      [](const Accuracy&, const auto&... operands) { same_bits_for_any_thread_count(op<false>, operands...); });
}

BOOST_AUTO_TEST_SUITE_END()
