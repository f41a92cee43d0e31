// Tests linear layers on the CUDA backend where the library lacks epilogues: kernels of our own do what they would have done.
// SPDX-License-Identifier: MIT
#include "../ops/op_check.hpp"

#include <sra/cpu/linear.hpp>
#include <sra/ops/feed_forward.hpp>
#include <sra/ops/linear.hpp>

#include <vector>

using namespace sra;
using namespace sra::op_check;

namespace {

using arch::Epilogue;

/// While one lives, the library has none of these.
struct Without {
  explicit Without(std::vector<Epilogue> all) { arch::emulated::refused() = {all.begin(), all.end()}; }
  ~Without() { arch::emulated::refused() = {}; }
};

const std::vector<std::vector<Epilogue>> missing{
    {Epilogue::bias},
    {Epilogue::gelu},
    {Epilogue::gelu_slope},
    {Epilogue::column_sums_b},
    {Epilogue::bias, Epilogue::gelu, Epilogue::gelu_slope, Epilogue::column_sums_b}};

constexpr auto linear_op = [](auto x, auto w, auto b) { return linear(x, weight_of(w), b); };
constexpr auto gelu_op = [](auto x, auto w, auto b) { return linear_gelu(x, weight_of(w), b); };
constexpr auto half_block = [](auto x, auto w1, auto b1, auto w2, auto b2) {
  return feed_forward(x, weight_of(w1), b1, weight_of(w2), b2);
};

template <class Op, class... S>
void without_epilogues(const Op& op, double terms, const Argument<S>&... operands) {
  const Outcome reference = Machine<double>().run(op, {1}, -1, as_bf16(operands)...);
  for (const auto& epilogues : missing) {
    const Without without(epilogues);
    expect_close("float", Machine<float, Cuda>().run(op, {1}, -1, as_bf16(operands)...), reference,
                 {.terms = terms, .floor = 1}, true);
    const Outcome twice = Machine<float, Cuda>().run(op, {1, 1}, -1, as_bf16(operands)...);
    for (std::size_t i = 0; i < twice.gradients.size(); ++i) {
      std::vector<double> half;
      for (const double g : twice.gradients[i]) half.push_back(g / 2);
      expect_close("used twice", half, reference.gradients[i], 1e-5 * terms);
    }
    const Outcome narrow = Machine<bf16, Cuda>().run(op, {1}, -1, as_bf16(operands)...);
    expect_close("bf16", narrow, reference, {.terms = 1, .factor = 6 * 0x1p-8 / 0x1p-52, .floor = 1}, false);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(layers_of_whole_vectors) {
  const auto x = argument<Shape<dynamic, 5, 16>>(3, 1);
  const auto w = argument<Shape<24, 16>>(1, 2, {.scale = 0.3, .parameter = true});
  const auto b = argument<Shape<24>>(1, 3, {.parameter = true});
  without_epilogues(linear_op, 24, x, w, b);
  without_epilogues(gelu_op, 24, x, w, b);
  without_epilogues(half_block, 48, x, w, b, argument<Shape<16, 24>>(1, 4, {.scale = 0.3, .parameter = true}),
                    argument<Shape<16>>(1, 5, {.parameter = true}));
}

BOOST_AUTO_TEST_CASE(layers_of_odd_sizes) {
  const auto x = argument<Shape<dynamic, 7>>(3, 1);
  const auto w = argument<Shape<5, 7>>(1, 2, {.parameter = true});
  without_epilogues(linear_op, 24, x, w, argument<Shape<5>>(1, 3, {.parameter = true}));
}
