// Tests the table of published sizes and the counts of FLOPs.
// SPDX-License-Identifier: MIT
#include <sra/models/config.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>

namespace {

using sra::DiTConfig;

/// A published size: for latents of 32 x 32 x 4, four times wider in the middle of the feed-forward layer.
constexpr bool is(const DiTConfig& c, int patch, int depth, int hidden, int heads, int tokens) {
  return c == DiTConfig{.height = 32,
                        .width = 32,
                        .channels = 4,
                        .patch = patch,
                        .hidden = hidden,
                        .depth = depth,
                        .heads = heads,
                        .mlp_ratio = 4,
                        .qk_norm = false,
                        .learn_sigma = false} &&
         c.tokens() == tokens && c.out_channels() == 4;
}

static_assert(is(sra::sit_s_2, 2, 12, 384, 6, 256) && sra::sit_s_2.head_width() == 64);
static_assert(is(sra::sit_s_4, 4, 12, 384, 6, 64));
static_assert(is(sra::sit_s_8, 8, 12, 384, 6, 16));
static_assert(is(sra::sit_b_2, 2, 12, 768, 12, 256) && sra::sit_b_2.head_width() == 64);
static_assert(is(sra::sit_b_4, 4, 12, 768, 12, 64));
static_assert(is(sra::sit_b_8, 8, 12, 768, 12, 16));
static_assert(is(sra::sit_l_2, 2, 24, 1024, 16, 256) && sra::sit_l_2.head_width() == 64);
static_assert(is(sra::sit_l_4, 4, 24, 1024, 16, 64));
static_assert(is(sra::sit_l_8, 8, 24, 1024, 16, 16));
static_assert(is(sra::sit_xl_2, 2, 28, 1152, 16, 256) && sra::sit_xl_2.head_width() == 72);
static_assert(is(sra::sit_xl_4, 4, 28, 1152, 16, 64));
static_assert(is(sra::sit_xl_8, 8, 28, 1152, 16, 16));

/// x is within 0.1 % of a published figure, in GFLOP.
void expect_gflop(double x, double published) {
  BOOST_TEST(std::abs(x / 1e9 / published - 1) < 1e-3, x / 1e9 << " GFLOP, published " << published);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(config)

BOOST_AUTO_TEST_CASE(tokens_of_inputs_that_are_not_square) {
  constexpr DiTConfig c{.height = 8, .width = 16, .channels = 3, .patch = 4, .hidden = 32, .depth = 2, .heads = 2};
  BOOST_TEST(c.tokens() == 2 * 4);
  BOOST_TEST(c.out_channels() == 3);
  constexpr DiTConfig sigma{.channels = 3, .learn_sigma = true};
  BOOST_TEST(sigma.out_channels() == 6);
}

BOOST_AUTO_TEST_CASE(flops_of_a_step_are_the_published_ones) {
  expect_gflop(step_flops(sra::sit_s_2, 1, 8, true), 45.9);
  expect_gflop(step_flops(sra::sit_b_2, 1, 8, true), 173.5);
  expect_gflop(step_flops(sra::sit_xl_2, 1, 20, true), 893.5);
  // TFLOP of a batch of 256.
  expect_gflop(step_flops(sra::sit_xl_2, 256, 20, true) / 1e3, 228.7);
}

/// SiT-S/2, batch 8: passes of 12 blocks and a head, as counted for the CPU.  There a step is three forward passes of
/// the student, attention included, and a teacher that does not stop.
BOOST_AUTO_TEST_CASE(flops_of_a_pass_are_the_published_ones) {
  constexpr double block = sra::block_flops(sra::sit_s_2, 8), head = 8.0 * 8 * 256 * 384 * 384;
  expect_gflop(12 * block + head, 99.3);
  expect_gflop(12 * block, 96.9);
  expect_gflop(8 * block, 64.5);
  expect_gflop(3 * (12 * block + head) + 12 * block, 394.7);
}

/// Counted product by product: qkv, proj, fc1, fc2, scores and values, modulation.
BOOST_AUTO_TEST_CASE(a_block_is_the_sum_of_its_products) {
  constexpr DiTConfig c{
      .height = 8, .width = 12, .channels = 3, .patch = 2, .hidden = 40, .depth = 3, .heads = 5, .mlp_ratio = 3};
  const double t = 24, d = 40, b = 7;
  const auto product = [](double rows, double in, double out) { return 2 * rows * in * out; };
  const double expected = product(b * t, d, 3 * d) + product(b * t, d, d) + product(b * t, d, 3 * d) +
                          product(b * t, 3 * d, d) + 2 * product(b * t, d, t) + product(b, d, 6 * d);
  BOOST_TEST(block_flops(c, b) == expected);
  const double attention = 2 * product(b * t, d, t), head = product(b * t, d, 2 * d) + product(b * t, 2 * d, d);
  BOOST_TEST(step_flops(c, b, 0, false) == 3 * (3 * (expected - attention) + 3.5 * attention));
  BOOST_TEST(step_flops(c, b, 2, false) - step_flops(c, b, 0, false) == 2 * expected);
  BOOST_TEST(step_flops(c, b, 0, true) - step_flops(c, b, 0, false) == 3 * head);
}

BOOST_AUTO_TEST_SUITE_END()
