// Tests linear layers: with and without bias, with GELU, and a bank of them.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/linear.hpp>
#include <sra/ops/linear.hpp>
#include <sra/ops/slice.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(linear_op)

namespace {

constexpr auto op = [](auto x, auto w, auto b) { return linear(x, weight_of(w), b); };
constexpr auto without_bias = [](auto x, auto w) { return linear(x, weight_of(w)); };
constexpr auto with_gelu = [](auto x, auto w, auto b) { return linear_gelu(x, weight_of(w), b); };
constexpr auto then_gelu = [](auto x, auto w, auto b) { return eval(gelu(linear(x, weight_of(w), b))); };

/// Σ_k x[r, k] w[o, k] + b[o]; no bias: empty.
template <class X, class W>
std::vector<double> formula(const Argument<X>& x, const Argument<W>& w, const std::vector<double>& b = {}) {
  constexpr auto in = static_cast<std::size_t>(X::width), out = static_cast<std::size_t>(W::extent(0));
  std::vector<double> y;
  for (std::size_t r = 0; r < x.values.size() / in; ++r)
    for (std::size_t o = 0; o < out; ++o) {
      double sum = b.empty() ? 0 : b[o];
      for (std::size_t k = 0; k < in; ++k) sum += x.values[r * in + k] * w.values[o * in + k];
      y.push_back(sum);
    }
  return y;
}

template <class X, index_t Out>
void with_parameters(auto check, double terms, const Argument<X>& x) {
  check(Accuracy{.terms = terms, .floor = 1}, x, argument<Shape<Out, X::width>>(1, 2, {.parameter = true}),
        argument<Shape<Out>>(1, 3, {.parameter = true}));
}
/// The longest sums are as long as the input is wide, the output is wide, or there are rows; they may cancel to less
/// than their terms, hence a floor of 1.  The last has more rows than one partial sum of a bias gradient.
void each_shape(auto check) {
  using Three = Shape<dynamic, 3>;
  with_parameters<Three, 1>(check, 5, argument<Three>(5, 1));
  using Padded = Shape<dynamic, 4, 12>;
  with_parameters<Padded, 7>(check, 12, argument<Padded>(2, 1, {.gap = 5}));
  using Odd = Shape<dynamic, 9, 65>;
  with_parameters<Odd, 131>(check, 131, argument<Odd>(2, 1));
  using Tall = Shape<dynamic, 300, 3>;
  with_parameters<Tall, 2>(check, 600, argument<Tall>(2, 1));
}

/// Three layers in memory of one's own, `stride` elements apart, each with two states: weight and bias.
template <index_t In, index_t Out, class T>
struct Layers {
  using W = wide_t<T>;
  static constexpr index_t bias_at = round_up(Out * In, index_t{64});
  static constexpr index_t stride = bias_at + round_up(Out, index_t{64}), count = 3;

  Shared<W> masters = Shared<W>(count * stride), gradients = Shared<W>(count * stride, W(NAN));
  Shared<T> values;
  std::array<unsigned char, 2 * count> states{};

  Layers() {
    const Rng rng(7, Purpose::user, 0, 0);
    for (std::size_t i = 0; i < masters.size(); ++i) masters[i] = static_cast<W>(rng.normal(i));
    for (const W x : masters) values.push_back(static_cast<T>(x));
  }
  template <class C>
  Weight<T, Shape<Out, In>, C> weight(C&, index_t i) {
    return {dense(std::as_const(values).data() + i * stride, Shape<Out, In>{}), gradients.data() + i * stride,
            states.data() + 2 * i};
  }
  template <class C>
  auto bias(C& c, index_t i) {
    const index_t offset = i * stride + bias_at;
    Slot* slot = c.slot(Out * sizeof(W));
    slot->data = gradients.data() + offset;
    slot->state = states.data() + 2 * i + 1;
    return Var<W, Shape<Out>, C>{c, dense(masters.data() + offset, Shape<Out>{}), slot};
  }
};

struct Results {
  std::vector<double> y, dx, gradients;
};

/// Σ over the layers in `used` of weights times results, differentiated once per seed; all layers as one bank or one by one.
/// @param frozen number of a layer whose weight is not trained, or -1
template <index_t In, index_t Out, class T, class B = Cpu>
Results run(bool as_bank, std::vector<index_t> used, const Argument<Shape<dynamic, In>>& input,
            const std::vector<std::uint64_t>& seeds = {1}, index_t frozen_layer = -1) {
  using L = Layers<In, Out, T>;
  using W = wide_t<T>;
  L layers;
  if (frozen_layer >= 0) layers.states[static_cast<std::size_t>(2 * frozen_layer)] = frozen;
  const auto layers_sum = [&](auto x) {
    auto& c = x.context();
    const auto bank = linear_bank(x, layers.weight(c, 0), layers.bias(c, 0), L::stride, 2, L::count);
    auto sum = make<W>(c, Shape<dynamic, Out>{x.batch()}).stop_gradient();
    fill(c, sum.value, W(0));
    for (const index_t i : used)
      sum = as_bank ? eval(sum + bank[i] * double(i + 1))
                    : eval(sum + linear(x, layers.weight(c, i), layers.bias(c, i)) * double(i + 1));
    return sum;
  };
  const Outcome out = Machine<T, B>().run(layers_sum, seeds, -1, input);
  Results r{out.y, out.gradients[0], {}};
  for (index_t i = 0; i < L::count; ++i)
    for (index_t k = 0; k < L::bias_at + Out; ++k) {
      if (k >= Out * In && k < L::bias_at) continue;
      const auto state = layers.states[static_cast<std::size_t>(2 * i + (k >= L::bias_at))];
      const W gradient = layers.gradients[static_cast<std::size_t>(i * L::stride + k)];
      r.gradients.push_back(state == written ? static_cast<double>(gradient) : 0.0);
    }
  return r;
}

template <index_t In, index_t Out, class T, class B = Cpu>
void bank_is_layers(index_t batch, const std::vector<index_t>& used, const std::vector<std::uint64_t>& seeds = {1},
                    index_t frozen_layer = -1) {
  const auto x = argument<Shape<dynamic, In>>(batch, 1);
  const Results bank = run<In, Out, T, B>(true, used, x, seeds, frozen_layer),
                layers = run<In, Out, T, B>(false, used, x, seeds, frozen_layer);
  const Accuracy accuracy{.terms = double(3 * std::max({In, Out, batch})), .floor = 1};
  const auto allowed = [&](const auto& r) { return accuracy.template allowed<wide_t<T>>(r); };
  expect_close("results", bank.y, layers.y, allowed(layers.y));
  expect_close("dx", bank.dx, layers.dx, allowed(layers.dx));
  expect_close("gradients", bank.gradients, layers.gradients, allowed(layers.gradients));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const Accuracy& accuracy, const auto& x, const auto& w, const auto& b) {
    agrees_with_formula(
        op, [](const auto& u, const auto& v, const auto& c) { return formula(u, v, c.values); }, accuracy, x, w, b);
    agrees_with_formula(
        without_bias, [](const auto& u, const auto& v) { return formula(u, v); }, accuracy, x, w);
  });
}

BOOST_AUTO_TEST_CASE(gelu_agrees_with_the_layer_and_then_gelu) {
  each_shape([](const Accuracy& accuracy, const auto& x, const auto& w, const auto& b) {
    agrees_with_definition(with_gelu, then_gelu, accuracy, x, w, b);
    agrees_with_formula(
        with_gelu,
        [](const auto& u, const auto& v, const auto& c) {
          std::vector<double> y = formula(u, v, c.values);
          for (double& z : y) z = z / 2 * (1 + std::tanh(std::sqrt(2 / std::acos(-1.0)) * (z + 0.044715 * z * z * z)));
          return y;
        },
        accuracy, x, w, b);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const Accuracy&, const auto& x, const auto& w, const auto& b) {
    matches_finite_differences(op, x, w, b);
    matches_finite_differences(without_bias, x, w);
    matches_finite_differences(with_gelu, x, w, b);
  });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& x, const auto& w, const auto& b) {
    every_isa_agrees(op, accuracy, x, w, b);
    every_isa_agrees(with_gelu, accuracy, x, w, b);
  });
}

BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  each_shape([](const Accuracy&, const auto& x, const auto& w, const auto& b) {
    bf16_agrees(op, 1.1, 1, x, w, b);
    bf16_agrees(without_bias, 1.1, 1, x, w);
    bf16_agrees(with_gelu, 2, 1, x, w, b);  // the value before GELU and its gradient are kept in bf16
  });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& x, const auto& w, const auto& b) {
    accumulates(op, accuracy, x, w, b);
    accumulates(without_bias, accuracy, x, w);
    accumulates(with_gelu, accuracy, x, w, b);
  });
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  const auto x = argument<Shape<dynamic, 4, 12>>(2, 1);
  const auto w = argument<Shape<7, 12>>(1, 2, {.parameter = true});
  const auto b = argument<Shape<7>>(1, 3, {.parameter = true});
  ignores_constants(op, x, w, b);
  ignores_constants(with_gelu, x, w, b);
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  const auto x = argument<Shape<dynamic, 130, 65>>(5, 1);
  const auto w = argument<Shape<300, 65>>(1, 2, {.parameter = true});
  const auto b = argument<Shape<300>>(1, 3, {.parameter = true});
  same_bits_for_any_thread_count(op, x, w, b);
  same_bits_for_any_thread_count(with_gelu, x, w, b);
}

BOOST_AUTO_TEST_CASE(an_expression_is_evaluated_on_the_way) {
  const auto of_sum = [](auto x, auto w, auto b) { return sra::linear(x + x * 0.5, weight_of(w), b); };
  const auto of_value = [](auto x, auto w, auto b) { return sra::linear(eval(x + x * 0.5), weight_of(w), b); };
  agrees_with_definition(of_sum, of_value, Accuracy{.terms = 5}, argument<Shape<dynamic, 2, 3>>(2, 1),
                         argument<Shape<5, 3>>(1, 2, {.parameter = true}), argument<Shape<5>>(1, 3));
}

BOOST_AUTO_TEST_CASE(rows_at_varying_distances_are_refused) {
  const auto sliced = [](auto x, auto w) { return sra::linear(slice_rows<1, 3>(x), weight_of(w)); };
  const auto x = argument<Shape<dynamic, 5, 4>>(2, 1);
  const auto w = argument<Shape<3, 4>>(1, 2, {.parameter = true});
  BOOST_CHECK_EXCEPTION(Machine<float>().run(sliced, {1}, -1, x, w), Error, [](const Error& e) {
    return std::string(e.what()) ==
           "linear: expected rows at one constant distance, got a [2, 3, 4] view of a larger tensor";
  });
}

BOOST_AUTO_TEST_CASE(a_bank_agrees_with_one_layer_after_the_other) {
  bank_is_layers<3, 5, double>(2, {0, 1, 2});
  bank_is_layers<65, 7, double>(1, {2, 1, 0});
  bank_is_layers<12, 66, float>(5, {0, 1, 2});
  bank_is_layers<12, 66, bf16>(5, {0, 1, 2});  // the same weights in bf16; results per sample are float
}

BOOST_AUTO_TEST_CASE(a_bank_agrees_where_gradients_are_added_or_not_made) {
  bank_is_layers<12, 66, float>(5, {0, 1, 2}, {1, 2});
  for (index_t i = 0; i < 3; ++i) bank_is_layers<12, 66, float>(5, {0, 1, 2}, {1}, i);
}

#ifdef SRA_OP_CHECK_CUDA
BOOST_AUTO_TEST_CASE(a_bank_on_the_device_agrees_with_one_layer_after_the_other) {
  bank_is_layers<12, 64, float, Cuda>(5, {0, 1, 2});
  bank_is_layers<3, 5, float, Cuda>(2, {0, 2}, {1, 2});  // rows that no product with an epilogue takes
  for (index_t i = 0; i < 3; ++i) bank_is_layers<12, 64, float, Cuda>(5, {0, 1, 2}, {1, 2}, i);
  bank_is_layers<16, 64, bf16, Cuda>(5, {0, 1, 2}, {1, 2});
}
#endif

BOOST_AUTO_TEST_CASE(layers_of_a_bank_whose_results_are_unused_have_zero_gradient) {
  bank_is_layers<3, 5, double>(2, {1});
  bank_is_layers<12, 66, float>(3, {0, 2});
  const auto x = argument<Shape<dynamic, 3>>(2, 1);
  const Results one = run<3, 5, double>(true, {1}, x);
  for (std::size_t i = 0; i < one.gradients.size(); ++i)
    BOOST_TEST((one.gradients[i] != 0) == (i / (one.gradients.size() / 3) == 1), "gradient " << i);
}

BOOST_AUTO_TEST_SUITE_END()
