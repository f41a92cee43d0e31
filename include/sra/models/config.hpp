// The sizes of a model as one value, and the table of published ones.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/checkpoint.hpp>
#include <sra/core/config.hpp>

namespace sra {

/// Sizes of a diffusion transformer.  A template argument: every field changes shapes or code.
struct DiTConfig {
  int height = 32;           ///< of the input
  int width = 32;            ///< of the input
  int channels = 4;          ///< of the input
  int patch = 2;             ///< side of a patch
  int hidden = 1152;         ///< width of a token
  int depth = 28;            ///< blocks
  int heads = 16;            ///< attention heads
  int mlp_ratio = 4;         ///< width of the feed-forward layer over hidden
  bool qk_norm = false;      ///< affine norm of queries and keys
  bool learn_sigma = false;  ///< twice the output channels (DiT)
  Recompute recompute = Recompute::none;

  constexpr int tokens() const { return (height / patch) * (width / patch); }
  constexpr int head_width() const { return hidden / heads; }
  constexpr int out_channels() const { return learn_sigma ? 2 * channels : channels; }

  friend constexpr bool operator==(const DiTConfig&, const DiTConfig&) = default;
};

// clang-format off
// Published sizes, for latents of 32 x 32 x 4 (256 x 256 images).   DiT, arXiv:2212.09748, table 1.
inline constexpr DiTConfig sit_s_2 {.patch = 2, .hidden =  384, .depth = 12, .heads =  6};
inline constexpr DiTConfig sit_s_4 {.patch = 4, .hidden =  384, .depth = 12, .heads =  6};
inline constexpr DiTConfig sit_s_8 {.patch = 8, .hidden =  384, .depth = 12, .heads =  6};
inline constexpr DiTConfig sit_b_2 {.patch = 2, .hidden =  768, .depth = 12, .heads = 12};
inline constexpr DiTConfig sit_b_4 {.patch = 4, .hidden =  768, .depth = 12, .heads = 12};
inline constexpr DiTConfig sit_b_8 {.patch = 8, .hidden =  768, .depth = 12, .heads = 12};
inline constexpr DiTConfig sit_l_2 {.patch = 2, .hidden = 1024, .depth = 24, .heads = 16};
inline constexpr DiTConfig sit_l_4 {.patch = 4, .hidden = 1024, .depth = 24, .heads = 16};
inline constexpr DiTConfig sit_l_8 {.patch = 8, .hidden = 1024, .depth = 24, .heads = 16};
inline constexpr DiTConfig sit_xl_2{.patch = 2, .hidden = 1152, .depth = 28, .heads = 16};
inline constexpr DiTConfig sit_xl_4{.patch = 4, .hidden = 1152, .depth = 28, .heads = 16};
inline constexpr DiTConfig sit_xl_8{.patch = 8, .hidden = 1152, .depth = 28, .heads = 16};
// clang-format on

/// FLOPs of one block, forward, for `samples` samples; a multiply-add is two.  B (T (24 D² + 4 T D) + 12 D²) at MLP ratio 4.
constexpr double block_flops(const DiTConfig& c, double samples) {
  const double d = c.hidden, t = c.tokens(), r = c.mlp_ratio;
  return samples * (t * ((8 + 4 * r) * d * d + 4 * t * d) + 12 * d * d);
}

/// FLOPs of one training step: student forward and backward (products twice, attention 2.5 times the forward), the
/// teacher's blocks up to `teacher_block`, and the alignment head (8 D² a token forward) if there is one.
/// Recomputed FLOPs are never counted.
constexpr double step_flops(const DiTConfig& c, double samples, int teacher_block, bool head) {
  const double d = c.hidden, t = c.tokens();
  const double attention = samples * 4 * t * t * d;
  const double student = c.depth * (3 * (block_flops(c, samples) - attention) + 3.5 * attention);
  return student + teacher_block * block_flops(c, samples) + (head ? 3 * 8 * samples * t * d * d : 0);
}

namespace detail {

/// Whether x is within 0.1 % of a published figure.
constexpr bool agrees(double x, double published) { return x > 0.999 * published && x < 1.001 * published; }

}  // namespace detail

// FLOPs of one image and step with a head and the published teacher layers: 45.9, 173.5 and 893.5 GFLOP.
static_assert(detail::agrees(step_flops(sit_s_2, 1, 8, true), 45.9e9));
static_assert(detail::agrees(step_flops(sit_b_2, 1, 8, true), 173.5e9));
static_assert(detail::agrees(step_flops(sit_xl_2, 1, 20, true), 893.5e9));

}  // namespace sra
