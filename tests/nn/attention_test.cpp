// Tests the attention layer, with and without norms of queries and keys.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/nn/attention.hpp>

#include <cstdint>
#include <vector>

using namespace sra;
using namespace sra::module_check;

namespace {

constexpr std::size_t tokens = 5, width = 12, heads = 3;
using Plain = Attention<width, heads>;
using Normed = Attention<width, heads, true>;
using OneHead = Attention<6, 1, true>;

constexpr auto apply = [](const auto& layer, auto x) { return layer(x); };

const auto x = argument<Shape<dynamic, tokens, width>>(2, 1);

/// weight norm(x) + bias for every head on its own, eps 1e-5.
template <class R>
Numbers head_norm(const R& rig, const std::string& name, Numbers v) {
  const Numbers weight = rig.values(name + ".weight"), bias = rig.values(name + ".bias");
  v = norm(v, weight.size(), 1e-5f);
  for (std::size_t i = 0; i < v.size(); ++i) v[i] = v[i] * weight[i % weight.size()] + bias[i % weight.size()];
  return v;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(attention)

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_pytorch) {
  expect_keys(keys<Plain>(), {"qkv.weight [36, 12]", "qkv.bias [36]", "proj.weight [12, 12]", "proj.bias [12]"});
  expect_keys(keys<Normed>(), {"qkv.weight [36, 12]", "qkv.bias [36]", "q_norm.weight [4]", "q_norm.bias [4]",
                               "k_norm.weight [4]", "k_norm.bias [4]", "proj.weight [12, 12]", "proj.bias [12]"});
}

BOOST_AUTO_TEST_CASE(norms_start_as_the_identity) {
  Rig<Normed, float> rig;
  rig.store().initialise(1);
  for (const char* name : {"q_norm", "k_norm"}) {
    for (const double w : rig.values(std::string(name) + ".weight")) BOOST_TEST(w == 1);
    for (const double b : rig.values(std::string(name) + ".bias")) BOOST_TEST(b == 0);
  }
}

BOOST_AUTO_TEST_CASE(is_the_definition_between_two_projections) {
  Rig<Plain, double> rig;
  const Numbers qkv = linear(rig, "qkv", x.values);
  const Numbers o = module_check::attention(columns(qkv, 36, 0, 12), columns(qkv, 36, 12, 12), columns(qkv, 36, 24, 12),
                                            tokens, width, heads);
  const Numbers y = linear(rig, "proj", o);
  expect_close("attention", rig.value(apply, x), y, Accuracy{.terms = 60, .floor = 1}.allowed<double>(y));
}

BOOST_AUTO_TEST_CASE(queries_and_keys_of_each_head_are_normed_on_their_own) {
  Rig<Normed, double> rig;
  const Numbers qkv = linear(rig, "qkv", x.values);
  const Numbers o = module_check::attention(head_norm(rig, "q_norm", columns(qkv, 36, 0, 12)),
                                            head_norm(rig, "k_norm", columns(qkv, 36, 12, 12)),
                                            columns(qkv, 36, 24, 12), tokens, width, heads);
  const Numbers y = linear(rig, "proj", o);
  // A norm magnifies rounding by the size of what it divides over its deviation: up to ten times over rows of four.
  expect_close("attention", rig.value(apply, x), y, Accuracy{.terms = 60, .factor = 40, .floor = 1}.allowed<double>(y));
}

BOOST_AUTO_TEST_CASE(tokens_of_other_groups_are_not_seen) {
  const std::vector<std::int32_t> group{0, 1, 0, 1, 1, 1, 1, 1, 0, 0};
  const auto masked = [&](const Plain& layer, auto v) {
    return layer(v, SameGroup<Shape<dynamic, tokens>>{dense(group.data(), Shape<dynamic, tokens>{v.batch()})});
  };
  Rig<Plain, double> rig;
  const Numbers before = rig.value(masked, x);
  auto moved = x;
  for (std::size_t i = 0; i < width; ++i) moved.values[i] += 1;  // token 0 of sample 0: group 0 with token 2
  const Numbers after = rig.value(masked, moved);
  for (std::size_t token = 0; token < 2 * tokens; ++token)
    for (std::size_t i = 0; i < width; ++i)
      BOOST_TEST((before[token * width + i] != after[token * width + i]) == (token == 0 || token == 2),
                 "token " << token);
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  matches_finite_differences<Plain>(apply, x);
  matches_finite_differences<Normed>(apply, x);
  matches_finite_differences<OneHead>(apply, argument<Shape<dynamic, 4, 6>>(2, 1));
}

BOOST_AUTO_TEST_SUITE_END()
