// The models: SiT and DiT.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/checkpoint.hpp>
#include <sra/core/error.hpp>
#include <sra/models/config.hpp>
#include <sra/nn/dit_block.hpp>
#include <sra/nn/embedding.hpp>
#include <sra/nn/final_layer.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sra {

namespace detail {

/// Fixed two-dimensional sine-cosine embedding: the first half of the channels encodes the column, the second the row; in
/// each half all sines come before all cosines.  Frequencies 10000^(−k / (D/4)), computed in double.
template <DiTConfig C, class W>
std::vector<W> position_embedding() {
  std::vector<W> table(static_cast<std::size_t>(C.tokens() * C.hidden));
  constexpr int quarter = C.hidden / 4, columns = C.width / C.patch;
  for (int token = 0; token < C.tokens(); ++token)
    for (int axis = 0; axis < 2; ++axis)
      for (int k = 0; k < quarter; ++k) {
        const double place = axis == 0 ? token % columns : token / columns;
        const double angle = place * std::pow(10000.0, -static_cast<double>(k) / quarter);
        W* row = table.data() + token * C.hidden + axis * 2 * quarter;
        row[k] = static_cast<W>(std::sin(angle));
        row[quarter + k] = static_cast<W>(std::cos(angle));
      }
  return table;
}

}  // namespace detail

/// A diffusion transformer under the keys of the published checkpoints.  DiT, arXiv:2212.09748; SiT, arXiv:2401.08740.
/// @tparam C sizes  @tparam Condition_ Classes<N>, Vector<K> or Unconditional
template <DiTConfig C, class Condition_ = Classes<1000>>
struct SiT {
  static_assert(C.hidden % C.heads == 0, "DiTConfig: hidden must be a multiple of heads");
  static_assert(C.height % C.patch == 0 && C.width % C.patch == 0,
                "DiTConfig: height and width must be multiples of patch");
  static_assert(C.hidden % 4 == 0, "DiTConfig: hidden must be a multiple of 4, for the position embedding");
  static_assert(C.depth >= 1 && C.channels >= 1 && C.mlp_ratio >= 1,
                "DiTConfig: depth, channels and mlp_ratio must be positive");

  static constexpr DiTConfig config = C;
  using Condition = Condition_;
  using ImageShape = Shape<dynamic, C.height, C.width, C.channels>;
  using TokenShape = Shape<dynamic, C.tokens(), C.hidden>;
  using Block = DiTBlock<C.hidden, C.heads, C.mlp_ratio, C.qk_norm, C.recompute>;

  Param<1, C.tokens(), C.hidden> pos_embed{.kind = ParamKind::constant};
  PatchEmbed<C.patch, C.channels, C.hidden> x_embedder;
  TimeEmbed<C.hidden> t_embedder;
  [[no_unique_address]] typename Condition::template Embed<C.hidden> y_embedder;
  std::array<Block, C.depth> blocks;
  FinalLayer<C.hidden, C.patch * C.patch * C.out_channels()> final_layer;

  static constexpr void visit(auto& self, auto&& f) {
    f("pos_embed", self.pos_embed);
    f("x_embedder", self.x_embedder);
    f("t_embedder", self.t_embedder);
    f("y_embedder", self.y_embedder);
    f("blocks", self.blocks);
    f("final_layer", self.final_layer);
  }

  template <class Values>
  void initialise(const Values& values, std::string_view, std::uint64_t) const {
    values.set(pos_embed, detail::position_embedding<C, typename Values::W>());
  }

  /// Tokens of images.  @param x [B, H, W, C]  @return [B, T, D]
  template <Variable X>
  auto embed(X x) const {
    return residual_stream(x_embedder(x) + fixed(leaf(x.context(), pos_embed)));
  }

  /// silu of the condition's vector, which all modulations read.  @param t [B]  @param y condition  @return [B, D]
  template <Context Ctx, class W>
  auto condition(Ctx& context, View<const W, Shape<dynamic>> t, typename Condition::View y) const {
    return eval(silu(y_embedder(t_embedder(context, t), y)));
  }

  /// Runs the blocks 1 … last.  @param x [B, T, D]  @param s [B, D] from condition()
  /// @param on_block called as on_block(i, x) when block i's result x is there, 1-based: the residual stream as it is, no norm
  /// @return [B, T, D]
  template <Variable X, Variable S, class OnBlock>
  X run(X x, S s, int last, OnBlock&& on_block) const {
    const X y = run_open(x, s, last, on_block).value();
    on_block(last, y);
    return y;
  }

  /// The whole model.  @param x [B, H, W, C]  @param t [B], 1 = pure noise  @param y condition  @param on_block as in run
  /// @return [B, H, W, C'], C' = C, or 2 C with learn_sigma: the velocity
  template <Variable X, class W, class OnBlock>
  auto operator()(X x, View<const W, Shape<dynamic>> t, typename Condition::View y, OnBlock&& on_block) const {
    const auto s = condition(x.context(), t, y);                   // [B, D]
    const auto tokens = run_open(embed(x), s, C.depth, on_block);  // [B, T, D]
    const auto patches = final_layer(tokens, s, [&](auto input) { on_block(C.depth, input); });
    return unpatchify<C.patch, PatchOrder::channels_last, C.height, C.width>(patches);
  }
  template <Variable X, class W>
  auto operator()(X x, View<const W, Shape<dynamic>> t, typename Condition::View y) const {
    return (*this)(x, t, y, [](int, const auto&) {});
  }

 private:
  /// As run, but the last block's sum is left to who reads it, and its on_block too.  Where nothing is recorded every block
  /// closes its sum.
  template <Variable X, Variable S, class OnBlock>
  OpenSum<X> run_open(X x, S s, int last, OnBlock&& on_block) const {
    auto& c = x.context();
    const Linear<C.hidden, 6 * C.hidden, init::Zero>& first = blocks[0].modulation;
    const index_t stride = C.depth > 1 ? blocks[C.depth > 1].modulation.weight.offset - first.weight.offset : 0;
    const index_t states = C.depth > 1 ? blocks[C.depth > 1].modulation.weight.ordinal - first.weight.ordinal : 0;
    const auto m =
        linear_bank(s, weight(c, first.weight), leaf(c, first.bias), stride, states, last);  // last x [B, 6 D]
    const X turns[2] = {kept_between(x), kept_between(x)};
    detail::NormView<X> norms;
    if constexpr (X::context_type::recording && Block::remakes_norms)
      norms = c.template tensor<typename X::context_type::type>(x.value.shape);
    OpenSum<X> stream(x);
    for (int i = 0; i < last; ++i) {
      const Block& block = blocks[static_cast<std::size_t>(i)];
      X input = stream.x;  // [B, T, D]
      if constexpr (!X::context_type::recording) {
        stream = closed(block, input, m[i], turns[i % 2]);
      } else if constexpr (C.recompute == Recompute::block) {
        stream = checkpoint(block, input, m[i]);
      } else {
        const auto result = block(stream, m[i], NoMask{}, norms);
        input = result.input;
        stream = result.output;
      }
      if (i > 0) on_block(i, input);
    }
    return stream;
  }

  /// Where a block's result goes when nothing is recorded: then all else of the block is given back at once.
  template <Variable X>
  static X kept_between(X x) {
    if constexpr (X::context_type::recording)
      return x;
    else
      return x.like();
  }
  template <Variable X, Variable M>
  static X closed(const Block& block, X x, M m, X to) {
    Arena& stack = to.context().workspace().activations;
    const Arena::Mark before = stack.mark();
    block(OpenSum<X>(x), m).output.close(to);
    stack.pop(before);
    return to;
  }
};

/// One line that names a model: sizes and condition.
template <class Model>
std::string summary() {
  constexpr DiTConfig c = Model::config;
  std::string s = text(c.height, "x", c.width, "x", c.channels, " patch ", c.patch, " hidden ", c.hidden, " depth ",
                       c.depth, " heads ", c.heads, " mlp_ratio ", c.mlp_ratio);
  if (c.qk_norm) s += " qk_norm";
  if (c.learn_sigma) s += " learn_sigma";
  return text(s, " condition ", Model::Condition::name, " ", Model::Condition::count);
}

/// Every parameter's key and shape and the total, one line each.
template <class Model>
std::string describe(const Model& model) {
  std::string lines = summary<Model>() + "\n";
  index_t total = 0;
  for_each_param(model, [&](const std::string& name, const auto& p) {
    using P = std::remove_cvref_t<decltype(p)>;
    lines += text(name, " ", to_string(typename P::shape{}), " ", P::size, "\n");
    total += P::size;
  });
  return lines + text("parameters ", total, ", forward GFLOP per image ",
                      std::round(Model::config.depth * block_flops(Model::config, 1) / 1e7) / 100, "\n");
}

// Published sizes with the alignment head (4 D² + 3 D), arXiv:2505.02831 and its released checkpoints.
static_assert(parameter_count<SiT<sit_s_2>>() + 4 * 384 * 384 + 3 * 384 == 33'548'176);
static_assert(parameter_count<SiT<sit_b_2>>() + 4 * 768 * 768 + 3 * 768 == 132'861'712);
static_assert(parameter_count<SiT<sit_l_2>>() + 4 * 1024 * 1024 + 3 * 1024 == 462'283'792);
static_assert(parameter_count<SiT<sit_xl_2>>() + 4 * 1152 * 1152 + 3 * 1152 == 680'423'056);

}  // namespace sra
