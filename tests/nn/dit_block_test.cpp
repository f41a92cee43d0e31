// Tests the transformer block: its equations, its gradients, and running it again instead of keeping what it made.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/autograd/checkpoint.hpp>
#include <sra/nn/dit_block.hpp>

#include <array>
#include <cstdint>

using namespace sra;
using namespace sra::module_check;

namespace {

constexpr std::size_t tokens = 3, width = 8, heads = 2;
using Block = DiTBlock<width, heads, 4>;
using Normed = DiTBlock<width, heads, 4, true>;

constexpr auto apply = [](const auto& block, auto x, auto m) { return block(x, m); };

const auto x = argument<Shape<dynamic, tokens, width>>(2, 1);
const auto m = argument<Shape<dynamic, 6 * width>>(2, 2, {.scale = 0.5});

/// Two blocks one after the other, kept or run again.
template <bool Again>
struct Stack {
  std::array<Block, 2> blocks;
  static constexpr void visit(auto& self, auto&& f) { f("blocks", self.blocks); }

  template <Variable X, Variable M>
  X operator()(X v, M modulation) const {
    for (const Block& block : blocks) {
      if constexpr (Again)
        v = checkpoint(block, v, modulation);
      else
        v = block(v, modulation);
    }
    return v;
  }
};

/// The same with the sum between the blocks left open.  @tparam Tapped what follows reads that sum, too
template <bool Tapped>
constexpr auto joined = [](const auto& stack, auto v, auto modulation) {
  const auto first = stack.blocks[0](OpenSum(v), modulation);
  const auto second = stack.blocks[1](first.output, modulation);
  const auto y = second.output.value();
  return eval(y * (Tapped ? second.input : y));
};
template <bool Tapped>
constexpr auto closed = [](const auto& stack, auto v, auto modulation) {
  const auto between = stack.blocks[0](v, modulation);
  const auto y = stack.blocks[1](between, modulation);
  return eval(y * (Tapped ? between : y));
};

}  // namespace

BOOST_AUTO_TEST_SUITE(dit_block)

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_pytorch) {
  expect_keys(keys<Block>(),
              {"attn.qkv.weight [24, 8]", "attn.qkv.bias [24]", "attn.proj.weight [8, 8]", "attn.proj.bias [8]",
               "mlp.fc1.weight [32, 8]", "mlp.fc1.bias [32]", "mlp.fc2.weight [8, 32]", "mlp.fc2.bias [8]",
               "adaLN_modulation.1.weight [48, 8]", "adaLN_modulation.1.bias [48]"});
  BOOST_TEST(keys<Normed>().size() == 14u);
}

/// x + gate1 attn(norm(x) (1 + scale1) + shift1), then x + gate2 mlp(norm(x) (1 + scale2) + shift2), with m in the
/// order shift1, scale1, gate1, shift2, scale2, gate2.
BOOST_AUTO_TEST_CASE(is_the_written_out_equations) {
  Rig<Block, double> rig;
  const auto part = [&](std::size_t i) { return columns(m.values, 6 * width, i * width, width); };
  const auto add_gated = [&](Numbers to, const Numbers& gate, const Numbers& branch) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] += gate[i / (tokens * width) * width + i % width] * branch[i];
    return to;
  };
  const Numbers qkv = linear(rig, "attn.qkv", modulated(x.values, part(0), part(1), tokens, width));
  const Numbers o = module_check::attention(columns(qkv, 3 * width, 0, width), columns(qkv, 3 * width, width, width),
                                            columns(qkv, 3 * width, 2 * width, width), tokens, width, heads);
  Numbers y = add_gated(x.values, part(2), linear(rig, "attn.proj", o));
  const Numbers hidden = linear(rig, "mlp.fc1", modulated(y, part(3), part(4), tokens, width));
  y = add_gated(y, part(5), linear(rig, "mlp.fc2", gelu(hidden)));
  // A norm magnifies rounding by the size of what it divides over its deviation: up to ten times over these rows.
  expect_close("block", rig.value(apply, x, m), y, Accuracy{.terms = 32, .factor = 40, .floor = 1}.allowed<double>(y));
}

BOOST_AUTO_TEST_CASE(is_the_identity_where_gates_are_zero) {
  auto closed = m;
  for (std::size_t i = 0; i < closed.values.size(); ++i)
    if (const std::size_t part = i % (6 * width) / width; part == 2 || part == 5) closed.values[i] = 0;
  Rig<Block, float> rig;
  BOOST_TEST((rig.value(apply, x, closed) == x.values));
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  matches_finite_differences<Block>(apply, x, m);
  matches_finite_differences<Normed>(apply, x, m);
}

BOOST_AUTO_TEST_CASE(a_mask_reaches_the_attention) {
  const std::vector<std::int32_t> group{0, 1, 0, 1, 1, 1};
  const auto masked = [&](const Block& block, auto v, auto modulation) {
    return block(v, modulation,
                 SameGroup<Shape<dynamic, tokens>>{dense(group.data(), Shape<dynamic, tokens>{v.batch()})});
  };
  Rig<Block, double> rig;
  const Numbers plain = rig.value(apply, x, m), grouped = rig.value(masked, x, m);
  for (std::size_t i = 0; i < plain.size(); ++i)
    BOOST_TEST((plain[i] != grouped[i]) == (i < tokens * width), "sample 1 is one group, sample 0 is two");
}

BOOST_AUTO_TEST_CASE(running_again_gives_the_bits_of_keeping) {
  const auto stacked = [](const auto& stack, auto v, auto modulation) { return stack(v, modulation); };
  Rig<Stack<false>, float> kept;
  Rig<Stack<true>, float> again;
  const Outcome a = kept.run(stacked, x, m), b = again.run(stacked, x, m);
  BOOST_TEST((a.y == b.y));
  BOOST_TEST((a.gradients == b.gradients));
  for (const double g : a.gradients[0]) BOOST_TEST_REQUIRE(std::isfinite(g));
}

/// The next block's norm makes the sum at the end of a block, and its gradients, with the bits of a pass of its own.
BOOST_AUTO_TEST_CASE(a_sum_left_open_between_blocks_has_the_bits_of_a_closed_one) {
  Rig<Stack<false>, float> rig;
  BOOST_TEST((rig.run(joined<false>, x, m) == rig.run(closed<false>, x, m)));
  BOOST_TEST((rig.run(joined<true>, x, m) == rig.run(closed<true>, x, m)));
}

/// Between the passes the tape holds two records of inputs and results instead of everything inside.
BOOST_AUTO_TEST_CASE(running_again_keeps_less) {
  const auto held = [](auto& rig) {
    Recording<Cpu, float> context(rig.workspace(), rig.store().student());
    const auto before = rig.workspace().activations.mark();
    const auto v = make<float>(context, x.shape);
    const auto modulation = make<float>(context, m.shape);
    fill(context, v.value, 0.5f);
    fill(context, modulation.value, 0.5f);
    rig.module()(v, modulation);
    const int records = context.tape().size();
    rig.workspace().roll_back();
    (void)before;
    return records;
  };
  Rig<Stack<false>, float> kept;
  Rig<Stack<true>, float> again;
  BOOST_TEST(held(again) == 2);
  BOOST_TEST(held(kept) > 10);
}

BOOST_AUTO_TEST_SUITE_END()
