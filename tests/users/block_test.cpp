// Tests a block of a user's in a model of the user's, made of the library's modules and the user's ops.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE block
#define BOOST_TEST_DYN_LINK
#include "running_mean.hpp"
#include "training.hpp"

#include <array>
#include <cstdint>
#include <string_view>

namespace lab {

/// Tokens see the mean of those before them: x + gate softsign(in(norm(mean(x)))), gate from the condition.
template <int Hidden>
struct CausalBlock {
  sra::Linear<Hidden, Hidden> in;
  sra::Linear<Hidden, 3 * Hidden> modulation;
  static constexpr void visit(auto& self, auto&& f) { f("in", self.in), f("modulation", self.modulation); }

  /// @param x [B, T, D]  @param s [B, D] silu of the condition  @return [B, T, D]
  template <sra::Variable X, sra::Variable S>
  X operator()(X x, S s) const {
    auto [shift, scale, gate] = sra::split<3>(modulation(s));  // each [B, D]
    return x + gate * sra::map<Softsign>(in(modulated_norm(running_mean(x), shift, scale)));
  }
};

/// What a Trainer asks of a model: embed, condition, run, and all of it together.
struct Model {
  static constexpr sra::DiTConfig config = lab::config;
  using Condition = sra::Classes<3>;
  using ImageShape = sra::Shape<sra::dynamic, config.height, config.width, config.channels>;
  using TokenShape = sra::Shape<sra::dynamic, config.tokens(), config.hidden>;

  sra::PatchEmbed<config.patch, config.channels, config.hidden> patches;
  sra::TimeEmbed<config.hidden> times;
  Condition::Embed<config.hidden> labels;
  std::array<CausalBlock<config.hidden>, config.depth> blocks;
  sra::FinalLayer<config.hidden, config.patch * config.patch * config.channels> last;

  static constexpr void visit(auto& self, auto&& f) {
    f("patches", self.patches), f("times", self.times), f("labels", self.labels), f("blocks", self.blocks),
        f("last", self.last);
  }

  auto embed(auto x) const { return residual_stream(patches(x)); }
  template <class W>
  auto condition(auto& context, sra::View<const W, sra::Shape<sra::dynamic>> t, Condition::View y) const {
    return eval(silu(labels(times(context, t), y)));
  }
  template <sra::Variable X>
  X run(X x, auto s, int until, auto&& on_block) const {
    for (int i = 0; i < until; ++i) {
      x = checkpoint(blocks[static_cast<std::size_t>(i)], x, s);
      on_block(i + 1, x);
    }
    return x;
  }
  template <class W>
  auto operator()(auto x, sra::View<const W, sra::Shape<sra::dynamic>> t, Condition::View y, auto&& on_block) const {
    const auto s = condition(x.context(), t, y);
    return sra::unpatchify<config.patch, sra::PatchOrder::channels_last, config.height, config.width>(
        last(run(embed(x), s, config.depth, on_block), s));
  }
};

}  // namespace lab

BOOST_AUTO_TEST_SUITE(block)

BOOST_AUTO_TEST_CASE(trains_three_steps_with_the_librarys_alignment) {
  sra::Trainer<lab::Model, sra::SRALoss<sra::Layer<1>, sra::Layer<2>>> trainer{
      {.batch = 6, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "blocks.0.");
}

BOOST_AUTO_TEST_CASE(trains_three_steps_in_bf16) {
  sra::Trainer<lab::Model, sra::SRALoss<sra::Layer<1>, sra::Layer<2>>, sra::Cpu, sra::bf16> trainer{
      {.batch = 6, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "blocks.0.");
}

BOOST_AUTO_TEST_SUITE_END()
