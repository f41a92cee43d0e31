// A block and a model of one's own, made of the library's modules and the ops of the examples before.
// SPDX-License-Identifier: MIT
#pragma once

#include "02_pointwise_op.hpp"
#include "03_structured_op.hpp"

#include <array>

namespace lab {

/// Tokens see the mean of those before them: x + gate softsign(in(norm(mean(x)))), gate from s, [B, D].
template <int Hidden>
struct CausalBlock {
  sra::Linear<Hidden, Hidden> in;
  sra::Linear<Hidden, 3 * Hidden> modulation;
  static constexpr void visit(auto& self, auto&& f) { f("in", self.in), f("modulation", self.modulation); }
  template <sra::Variable X, sra::Variable S>
  X operator()(X x, S s) const {
    auto [shift, scale, gate] = sra::split<3>(modulation(s));  // each [B, D]
    return x + gate * sra::map<Softsign>(in(modulated_norm(running_mean(x), shift, scale)));
  }
};

/// What a Trainer asks of a model: embed, condition, run, and all of it together.
template <sra::DiTConfig C, class Condition_>
struct CausalModel {
  static constexpr sra::DiTConfig config = C;
  using Condition = Condition_;
  using ImageShape = sra::Shape<sra::dynamic, C.height, C.width, C.channels>;
  using TokenShape = sra::Shape<sra::dynamic, C.tokens(), C.hidden>;
  sra::PatchEmbed<C.patch, C.channels, C.hidden> patches;
  sra::TimeEmbed<C.hidden> times;
  typename Condition::template Embed<C.hidden> labels;
  std::array<CausalBlock<C.hidden>, C.depth> blocks;
  sra::FinalLayer<C.hidden, C.patch * C.patch * C.channels> last;
  static constexpr void visit(auto& self, auto&& f) {
    f("patches", self.patches), f("times", self.times), f("labels", self.labels);
    f("blocks", self.blocks), f("last", self.last);
  }
  auto embed(auto x) const { return residual_stream(patches(x)); }
  auto condition(auto& context, auto t, typename Condition::View y) const {
    return eval(silu(labels(times(context, t), y)));
  }
  auto run(auto x, auto s, int until, auto&& on_block) const {
    for (int i = 0; i < until; ++i) {
      x = checkpoint(blocks[static_cast<std::size_t>(i)], x, s);  // computed again for the gradients
      on_block(i + 1, x);
    }
    return x;
  }
  auto operator()(auto x, auto t, typename Condition::View y, auto&& on_block) const {
    const auto s = condition(x.context(), t, y);
    const auto tokens = last(run(embed(x), s, C.depth, on_block), s);  // [B, T, P P C]
    return sra::unpatchify<C.patch, sra::PatchOrder::channels_last, C.height, C.width>(tokens);
  }
};

}  // namespace lab
