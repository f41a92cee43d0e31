// Tests layer norms: modulated per sample and per group of tokens, and with an affine map of their own.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/norm.hpp>
#include <sra/ops/norm.hpp>

#include <cmath>
#include <cstdint>
#include <vector>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(norm_op)

namespace {

/// With an eps as large as the variance, gradients see it.
struct ModulatedNorm {
  float eps;
  auto operator()(auto x, auto shift, auto scale) const { return modulated_norm(x, shift, scale, eps); }
};
constexpr ModulatedNorm op{1e-6f}, op_eps{0.5f};
constexpr auto of_stream = [](auto x, auto shift, auto scale) {
  return modulated_norm(residual_stream(x), shift, scale, 0.5f);
};
struct AffineNorm {
  float eps;
  auto operator()(auto x, auto weight, auto bias) const { return affine_norm(x, weight, bias, eps); }
};
constexpr AffineNorm affine{1e-5f}, affine_eps{0.5f};

/// The group of every token: other tokens in every sample, neighbours differ.
template <index_t T, index_t G>
View<const std::int32_t, Shape<dynamic, T>> groups(index_t batch) {
  static const Shared<std::int32_t> map = [] {
    Shared<std::int32_t> m;
    for (index_t b = 0; b < 8; ++b)
      for (index_t t = 0; t < T; ++t) m.push_back(static_cast<std::int32_t>((t * 5 + b) % G));
    return m;
  }();
  return dense(map.data(), Shape<dynamic, T>{batch});
}

/// Both results of the residual norm, each with a gradient of its own.
constexpr auto both = [](auto x, auto gate, auto branch, auto shift, auto scale) {
  const auto [sum, norm] = residual_modulated_norm(x, gate, branch, shift, scale, 0.5f);
  return 0.5 * sum + norm * norm;
};
constexpr auto both_definition = [](auto x, auto gate, auto branch, auto shift, auto scale) {
  const auto sum = eval(x + gate * branch);
  const auto norm = modulated_norm(sum, shift, scale, 0.5f);
  return 0.5 * sum + norm * norm;
};
template <index_t G>
constexpr auto grouped_residual = [](auto x, auto gate, auto branch, auto shift, auto scale) {
  const auto map = groups<decltype(x)::shape::extent(1), G>(x.batch());
  return both(x, grouped(gate, map), branch, grouped(shift, map), grouped(scale, map));
};
template <index_t G>
constexpr auto grouped_both_definition = [](auto x, auto gate, auto branch, auto shift, auto scale) {
  const auto map = groups<decltype(x)::shape::extent(1), G>(x.batch());
  return both_definition(x, grouped(gate, map), branch, grouped(shift, map), grouped(scale, map));
};

/// The op with shift and scale [B, G, D].
template <index_t G>
constexpr auto grouped_op = [](auto x, auto shift, auto scale) {
  const auto map = groups<decltype(x)::shape::extent(1), G>(x.batch());
  return modulated_norm(x, grouped(shift, map), grouped(scale, map), 0.5f);
};

/// (x − mean) / √(var + eps) for every row of x.
template <class X>
std::vector<double> normalised(const Argument<X>& x, double eps) {
  constexpr auto width = static_cast<std::size_t>(X::width);
  std::vector<double> y;
  for (std::size_t r = 0; r < x.values.size() / width; ++r) {
    double mean = 0, variance = 0;
    for (std::size_t i = 0; i < width; ++i) mean += x.values[r * width + i] / double(width);
    for (std::size_t i = 0; i < width; ++i) variance += std::pow(x.values[r * width + i] - mean, 2) / double(width);
    for (std::size_t i = 0; i < width; ++i) y.push_back((x.values[r * width + i] - mean) / std::sqrt(variance + eps));
  }
  return y;
}

/// n (1 + scale) + shift; row r of sample b reads row row_of(b, r) of shift and scale.
template <class X, class S, class RowOf>
std::vector<double> modulated(const Argument<X>& x, const Argument<S>& shift, const Argument<S>& scale, double eps,
                              RowOf row_of) {
  std::vector<double> y = normalised(x, eps);
  for (index_t b = 0; b < x.shape.batch; ++b)
    for (index_t r = 0; r < X::sample_rows; ++r)
      for (index_t i = 0; i < X::width; ++i) {
        double& value = y[static_cast<std::size_t>((b * X::sample_rows + r) * X::width + i)];
        const auto at = static_cast<std::size_t>(row_of(b, r) * X::width + i);
        value = value * (1 + scale.values[at]) + shift.values[at];
      }
  return y;
}
constexpr auto of_sample = [](index_t b, index_t) { return b; };

template <index_t T, index_t D>
void with_modulation(auto check, index_t batch, Draw draw = {}) {
  check(Accuracy{.terms = double(T * D), .floor = 1}, argument<Shape<dynamic, T, D>>(batch, 1, draw),
        argument<Shape<dynamic, D>>(batch, 2, {.gap = D}), argument<Shape<dynamic, D>>(batch, 3));
}
/// The longest sums run over a row or over a sample's tokens.
void each_shape(auto check) {
  with_modulation<1, 3>(check, 3);
  with_modulation<4, 12>(check, 2, {.gap = 5});
  with_modulation<9, 65>(check, 2);
  with_modulation<3, 130>(check, 1);
}

template <index_t T, index_t D, index_t G>
void with_groups(auto check) {
  check(grouped_op<G>, Accuracy{.terms = double(T * D), .floor = 1}, argument<Shape<dynamic, T, D>>(2, 1, {.gap = 3}),
        argument<Shape<dynamic, G, D>>(2, 2), argument<Shape<dynamic, G, D>>(2, 3));
}
void each_grouping(auto check) {
  with_groups<5, 12, 1>(check);
  with_groups<5, 12, 2>(check);
  with_groups<3, 72, 2>(check);
}

template <class S, index_t T, index_t D>
void with_residual(auto residual, auto definition, auto check, Draw draw = {}) {
  check(residual, definition, Accuracy{.terms = double(T * D), .floor = 1}, argument<Shape<dynamic, T, D>>(2, 1, draw),
        argument<S>(2, 2), argument<Shape<dynamic, T, D>>(2, 3), argument<S>(2, 4), argument<S>(2, 5));
}
void each_residual(auto check) {
  with_residual<Shape<dynamic, 3>, 1, 3>(both, both_definition, check);
  with_residual<Shape<dynamic, 12>, 4, 12>(both, both_definition, check, {.gap = 5});
  with_residual<Shape<dynamic, 130>, 9, 130>(both, both_definition, check);
  with_residual<Shape<dynamic, 264>, 19, 264>(both, both_definition, check);  // two vectors of 8 for some lanes
  with_residual<Shape<dynamic, 515>, 2, 515>(both, both_definition, check);   // two numbers for each of 288 threads
  with_residual<Shape<dynamic, 2, 67>, 3, 67>(grouped_residual<2>, grouped_both_definition<2>, check);
}

template <class X>
void with_affine(auto check, const Argument<X>& x) {
  check(Accuracy{.terms = double(x.values.size()), .floor = 1}, x,
        argument<Shape<X::width>>(1, 2, {.offset = 1, .parameter = true}),
        argument<Shape<X::width>>(1, 3, {.parameter = true}));
}
void each_affine_shape(auto check) {
  with_affine(check, argument<Shape<dynamic, 3, 16>>(2, 1, {.gap = 5}));
  with_affine(check, argument<Shape<dynamic, 5>>(3, 1));
  with_affine(check, argument<Shape<dynamic, 300, 3>>(4, 1));  // more rows than one partial sum of weight and bias
  with_affine(check, argument<Shape<dynamic, 2, 72>>(2, 1));
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](const Accuracy& accuracy, const auto& x, const auto& shift, const auto& scale) {
    agrees_with_formula(
        op, [](const auto& u, const auto& a, const auto& b) { return modulated(u, a, b, 1e-6f, of_sample); }, accuracy,
        x, shift, scale);
  });
  each_affine_shape([](const Accuracy& accuracy, const auto& x, const auto& weight, const auto& bias) {
    const auto formula = [](const auto& u, const auto& w, const auto& b) {
      std::vector<double> y = normalised(u, 1e-5f);
      for (std::size_t i = 0; i < y.size(); ++i)
        y[i] = y[i] * w.values[i % w.values.size()] + b.values[i % w.values.size()];
      return y;
    };
    agrees_with_formula(affine, formula, accuracy, x, weight, bias);
  });
}

BOOST_AUTO_TEST_CASE(a_group_of_tokens_has_its_own_shift_and_scale) {
  each_grouping([](auto with, const Accuracy& accuracy, const auto& x, const auto& shift, const auto& scale) {
    agrees_with_formula(
        with,
        [](const auto& u, const auto& a, const auto& b) {
          constexpr index_t T = decltype(u.shape)::extent(1), G = decltype(a.shape)::extent(1);
          const auto map = groups<T, G>(u.shape.batch);
          return modulated(u, a, b, 0.5, [&](index_t s, index_t t) { return s * G + map.row(s)[t]; });
        },
        accuracy, x, shift, scale);
    matches_finite_differences(with, x, shift, scale);
    every_isa_agrees(with, accuracy, x, shift, scale);
    accumulates(with, accuracy, x, shift, scale);
  });
}

BOOST_AUTO_TEST_CASE(residual_norm_is_a_sum_and_its_norm) {
  each_residual([](auto fused, auto definition, const Accuracy& accuracy, const auto&... operands) {
    agrees_with_definition(fused, definition, accuracy, operands...);
    matches_finite_differences(fused, operands...);
    every_isa_agrees(fused, accuracy, operands...);
    accumulates(fused, accuracy, operands...);
    ignores_constants(fused, operands...);
  });
  with_residual<Shape<dynamic, 264>, 19, 264>(
      both, both_definition,
      [](auto fused, auto, const Accuracy&, const auto&... operands) { bf16_agrees(fused, 2, 1, operands...); });
}

/// The sum takes over the gradient's memory of what it is the sum of, or adds to it: here x has a second use.
BOOST_AUTO_TEST_CASE(residual_norm_of_a_value_that_is_used_elsewhere) {
  const auto fused = [](auto x, auto gate, auto branch, auto shift, auto scale) {
    const auto y = eval(x * 2);
    return both(y, gate, branch, shift, scale) + y * branch;
  };
  const auto definition = [](auto x, auto gate, auto branch, auto shift, auto scale) {
    const auto y = eval(x * 2);
    return both_definition(y, gate, branch, shift, scale) + y * branch;
  };
  with_residual<Shape<dynamic, 20>, 5, 20>(
      fused, definition, [](auto with, auto unfused, const Accuracy& accuracy, const auto&... operands) {
        agrees_with_definition(with, unfused, accuracy, operands...);
        matches_finite_differences(with, operands...);
      });
}

/// A variance of 1e-6 or 1e-5 is halved by the published eps; the largest sums are those of eps's own digits.
BOOST_AUTO_TEST_CASE(eps_is_the_published_one) {
  const auto definition = [](const auto& u, const auto& a, const auto& b) {
    return modulated(u, a, b, 1e-6f, of_sample);
  };
  const auto by_default = [](auto x, auto shift, auto scale) { return modulated_norm(x, shift, scale); };
  agrees_with_formula(by_default, definition, Accuracy{.terms = 12, .floor = 1},
                      argument<Shape<dynamic, 2, 12>>(2, 1, {.scale = 1e-3}), argument<Shape<dynamic, 12>>(2, 2),
                      argument<Shape<dynamic, 12>>(2, 3));
  const auto affine_definition = [](const auto& u, const auto&, const auto&) { return normalised(u, 1e-5f); };
  const auto affine_by_default = [](auto x, auto weight, auto bias) { return affine_norm(x, weight, bias); };
  agrees_with_formula(affine_by_default, affine_definition, Accuracy{.terms = 12, .floor = 1},
                      argument<Shape<dynamic, 2, 12>>(2, 1, {.scale = 3e-3}),
                      argument<Shape<12>>(1, 2, {.scale = 0, .offset = 1}), argument<Shape<12>>(1, 3, {.scale = 0}));
}

/// The mean is rounded to eps 100; the variance must not be the difference of two numbers of size 10,000.
BOOST_AUTO_TEST_CASE(a_mean_far_from_zero_costs_no_more_than_its_rounding) {
  agrees_with_formula(
      op, [](const auto& u, const auto& a, const auto& b) { return modulated(u, a, b, 1e-6f, of_sample); },
      Accuracy{.floor = 100}, argument<Shape<dynamic, 2, 65>>(2, 1, {.offset = 100}),
      argument<Shape<dynamic, 65>>(2, 2, {.scale = 0.1}), argument<Shape<dynamic, 65>>(2, 3, {.scale = 0.1}));
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_shape([](const Accuracy&, const auto& x, const auto& shift, const auto& scale) {
    matches_finite_differences(op_eps, x, shift, scale);
  });
  each_affine_shape([](const Accuracy&, const auto& x, const auto& weight, const auto& bias) {
    matches_finite_differences(affine_eps, x, weight, bias);
  });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](const Accuracy& accuracy, const auto& x, const auto& shift, const auto& scale) {
    every_isa_agrees(op_eps, accuracy, x, shift, scale);
  });
  each_affine_shape([](const Accuracy& accuracy, const auto& x, const auto& weight, const auto& bias) {
    every_isa_agrees(affine_eps, accuracy, x, weight, bias);
  });
}

BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  const auto modulation = [](const Accuracy&, const auto&... operands) { bf16_agrees(op_eps, 1.1, 1, operands...); };
  with_modulation<4, 12>(modulation, 2, {.gap = 5});
  with_modulation<3, 130>(modulation, 1);
  const auto own_map = [](const Accuracy&, const auto&... operands) { bf16_agrees(affine_eps, 1.1, 1, operands...); };
  with_affine(own_map, argument<Shape<dynamic, 5>>(3, 1));
  with_affine(own_map, argument<Shape<dynamic, 2, 72>>(2, 1));
  // As training has it, the stream is float: its gradient is rounded once, when it becomes that of the operand.
  with_modulation<9, 65>([](const Accuracy&, const auto& x, const auto& shift,
                            const auto& scale) { bf16_agrees(of_stream, 1.1, 1, x, shift, scale); },
                         2);
  const auto norm_of_sum = [](auto x, auto gate, auto branch, auto shift, auto scale) {
    return both(residual_stream(x), gate, branch, shift, scale);
  };
  with_residual<Shape<dynamic, 130>, 9, 130>(
      norm_of_sum, both_definition,
      [](auto fused, auto, const Accuracy&, const auto&... operands) { bf16_agrees(fused, 2, 1, operands...); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](const Accuracy& accuracy, const auto& x, const auto& shift, const auto& scale) {
    accumulates(op_eps, accuracy, x, shift, scale);
  });
  each_affine_shape([](const Accuracy& accuracy, const auto& x, const auto& weight, const auto& bias) {
    accumulates(affine_eps, accuracy, x, weight, bias);
  });
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  ignores_constants(op, argument<Shape<dynamic, 4, 12>>(2, 1), argument<Shape<dynamic, 12>>(2, 2),
                    argument<Shape<dynamic, 12>>(2, 3));
  ignores_constants(affine, argument<Shape<dynamic, 4, 12>>(2, 1), argument<Shape<12>>(1, 2, {.parameter = true}),
                    argument<Shape<12>>(1, 3, {.parameter = true}));
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(op, argument<Shape<dynamic, 70, 130>>(6, 1), argument<Shape<dynamic, 130>>(6, 2),
                                 argument<Shape<dynamic, 130>>(6, 3));
  with_residual<Shape<dynamic, 130>, 70, 130>(both, both_definition,
                                              [](auto two, auto, const Accuracy&, const auto&... operands) {
                                                same_bits_for_any_thread_count(two, operands...);
                                              });
  same_bits_for_any_thread_count(affine, argument<Shape<dynamic, 600, 72>>(5, 1),
                                 argument<Shape<72>>(1, 2, {.parameter = true}),
                                 argument<Shape<72>>(1, 3, {.parameter = true}));
}

BOOST_AUTO_TEST_SUITE_END()
