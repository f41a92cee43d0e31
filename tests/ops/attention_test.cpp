// Tests attention: queries, keys and values apart and packed, with and without groups.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/attention_launch.hpp>
#include <sra/cpu/matmul.hpp>
#include <sra/cpu/softmax.hpp>
#include <sra/ops/attention.hpp>
#include <sra/ops/concat.hpp>
#include <sra/ops/matmul.hpp>
#include <sra/ops/softmax.hpp>
#include <sra/ops/split.hpp>

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(attention_op)

namespace {

template <int Heads>
constexpr auto op = [](auto q, auto k, auto v) { return attention<Heads>(q, k, v); };

/// softmax(q kᵀ / √d + bias) v for each head, by one op after the other.  @param bias [B, T, S] or a number
template <int Heads>
constexpr auto heads_apart = [](auto q, auto k, auto v, auto bias) {
  const auto qs = split<Heads>(q);
  const auto ks = split<Heads>(k);
  const auto vs = split<Heads>(v);
  const double scale = 1 / std::sqrt(double(decltype(q)::shape::width / Heads));
  const auto head = [&](std::size_t h) { return matmul(softmax(eval(matmul_nt(qs[h], ks[h]) * scale + bias)), vs[h]); };
  return [&]<std::size_t... H>(std::index_sequence<H...>) { return concat(head(H)...); }
  (std::make_index_sequence<Heads>{});
};
template <int Heads>
constexpr auto definition = [](auto q, auto k, auto v) { return heads_apart<Heads>(q, k, v, 0.0); };

/// The group of every token: 0, 1 or 2, other ones in every sample.
template <index_t T>
View<const std::int32_t, Shape<dynamic, T>> groups(index_t batch) {
  static const Shared<std::int32_t> map = [] {
    Shared<std::int32_t> m;
    for (index_t i = 0; i < 4 * T; ++i) m.push_back(static_cast<std::int32_t>((i * i + i / T) % 3));
    return m;
  }();
  return dense(map.data(), Shape<dynamic, T>{batch});
}

template <int Heads>
constexpr auto same_group = [](auto q, auto k, auto v) {
  constexpr index_t T = decltype(q)::shape::extent(1);
  return attention<Heads>(q, k, v, SameGroup<Shape<dynamic, T>>{groups<T>(q.batch())});
};
/// Scores of tokens of other groups are lowered until e^score is 0.
template <int Heads>
constexpr auto same_group_definition = [](auto q, auto k, auto v) {
  constexpr index_t T = decltype(q)::shape::extent(1);
  using Type = typename decltype(q)::type;
  auto bias = make<Type>(q.context(), Shape<dynamic, T, T>{q.batch()}).stop_gradient();
  const auto group = groups<T>(q.batch());
  for (index_t b = 0; b < q.batch(); ++b)
    for (index_t i = 0; i < T; ++i)
      for (index_t j = 0; j < T; ++j)
        bias.value.row(b, i)[j] = group.row(b)[i] == group.row(b)[j] ? Type(0) : Type(-1e6);
  return heads_apart<Heads>(q, k, v, bias);
};

template <int Heads, index_t T, index_t S, index_t Width>
void with_heads(auto check, index_t batch, index_t gap) {
  constexpr index_t D = Heads * Width;
  check(std::integral_constant<int, Heads>{},
        Accuracy{.terms = double(std::max({T, S, Width})), .factor = 8, .floor = 1},
        argument<Shape<dynamic, T, D>>(batch, 1, {.gap = gap}), argument<Shape<dynamic, S, D>>(batch, 2, {.gap = gap}),
        argument<Shape<dynamic, S, D>>(batch, 3, {.gap = gap}));
}
/// Head widths 5, 16, 64 and 72; T = 1, 9, 65, and one that takes more than one tile of scores.  The longest sums run
/// over tokens or over a head, twice in a row, hence a factor of 8.
void each_shape(auto check) {
  with_heads<3, 1, 9, 5>(check, 3, 0);
  with_heads<2, 9, 9, 16>(check, 2, 5);
  with_heads<1, 9, 65, 72>(check, 1, 144);
  with_heads<2, 65, 65, 64>(check, 2, 256);
  with_heads<1, 300, 230, 5>(check, 1, 0);
}
void each_grouped_shape(auto check) {
  with_heads<3, 9, 9, 5>(check, 3, 0);
  with_heads<1, 65, 65, 16>(check, 2, 7);
}

/// qkv and its parts as three operands: the packed op against the other.
template <int Heads>
constexpr auto packed = [](auto qkv) { return self_attention<Heads>(qkv); };
template <int Heads>
constexpr auto unpacked = [](auto qkv) {
  const auto [q, k, v] = split<3>(qkv);
  return attention<Heads>(q, k, v);
};

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_shape([](auto heads, const Accuracy& accuracy, const auto& q, const auto& k, const auto& v) {
    agrees_with_definition(op<heads()>, definition<heads()>, accuracy, q, k, v);
  });
}

BOOST_AUTO_TEST_CASE(tokens_of_other_groups_are_not_seen) {
  each_grouped_shape([](auto heads, const Accuracy& accuracy, const auto& q, const auto& k, const auto& v) {
    agrees_with_definition(same_group<heads()>, same_group_definition<heads()>, accuracy, q, k, v);
    matches_finite_differences(same_group<heads()>, q, k, v);
    every_isa_agrees(same_group<heads()>, accuracy, q, k, v);
  });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  const auto check = [](auto heads, const Accuracy&, const auto& q, const auto& k, const auto& v) {
    matches_finite_differences(op<heads()>, q, k, v);
  };
  with_heads<3, 1, 9, 5>(check, 3, 0);
  with_heads<2, 9, 5, 16>(check, 2, 5);
  with_heads<1, 3, 65, 72>(check, 1, 0);
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_shape([](auto heads, const Accuracy& accuracy, const auto& q, const auto& k, const auto& v) {
    every_isa_agrees(op<heads()>, accuracy, q, k, v);
  });
}

BOOST_AUTO_TEST_CASE(bf16_loses_what_its_roundings_do) {
  each_shape([](auto heads, const Accuracy&, const auto& q, const auto& k, const auto& v) {
    bf16_agrees<true>(op<heads()>, 2, 1, q, k, v);  // probabilities and the gradients of scores are multiplied in bf16
  });
  each_grouped_shape([](auto heads, const Accuracy&, const auto& q, const auto& k, const auto& v) {
    bf16_agrees<true>(same_group<heads()>, 2, 1, q, k, v);
  });
  bf16_agrees<true>(packed<3>, 2, 1, argument<Shape<dynamic, 9, 45>>(2, 1));
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_shape([](auto heads, const Accuracy& accuracy, const auto& q, const auto& k, const auto& v) {
    accumulates(op<heads()>, accuracy, q, k, v);
  });
}

BOOST_AUTO_TEST_CASE(each_gradient_may_be_ignored) {
  ignores_constants(op<2>, argument<Shape<dynamic, 9, 10>>(2, 1), argument<Shape<dynamic, 4, 10>>(2, 2),
                    argument<Shape<dynamic, 4, 10>>(2, 3));
}

BOOST_AUTO_TEST_CASE(one_value_may_be_queries_keys_and_values) {
  const auto of_itself = [](auto x) { return sra::attention<2>(x, x, x); };
  const auto itself = [](auto x) { return definition<2>(x, x, x); };
  const auto x = argument<Shape<dynamic, 9, 10>>(2, 1);
  agrees_with_definition(of_itself, itself, Accuracy{.terms = 9, .factor = 8, .floor = 1}, x);
  matches_finite_differences(of_itself, x);
}

BOOST_AUTO_TEST_CASE(packed_agrees_with_parts) {
  const auto check = [](auto heads, const Accuracy& accuracy, const auto& qkv) {
    agrees_with_definition(packed<heads()>, unpacked<heads()>, accuracy, qkv);
    accumulates(packed<heads()>, accuracy, qkv);
    every_isa_agrees(packed<heads()>, accuracy, qkv);
  };
  check(std::integral_constant<int, 3>{}, Accuracy{.terms = 9, .factor = 8, .floor = 1},
        argument<Shape<dynamic, 9, 45>>(2, 1));
  check(std::integral_constant<int, 2>{}, Accuracy{.terms = 72, .factor = 8, .floor = 1},
        argument<Shape<dynamic, 5, 432>>(2, 1, {.gap = 4}));
  matches_finite_differences(packed<3>, argument<Shape<dynamic, 4, 45>>(2, 1));
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(op<4>, argument<Shape<dynamic, 65, 64>>(3, 1), argument<Shape<dynamic, 33, 64>>(3, 2),
                                 argument<Shape<dynamic, 33, 64>>(3, 3));
}

BOOST_AUTO_TEST_SUITE_END()
