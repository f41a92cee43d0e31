// Trains the judge with a loop of its own: modules, a recording context, backward and the update are the library's.
// SPDX-License-Identifier: MIT
#include "judge.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

namespace demo {

namespace {

/// Layer norm with an affine map.
template <int Width>
struct Norm {
  sra::Param<Width> weight, bias;

  static constexpr void visit(auto& self, auto&& f) {
    f("weight", self.weight);
    f("bias", self.bias);
  }
  void initialise(const auto& values, std::string_view, std::uint64_t) const {
    values.fill(weight, sra::init::Constant{1});
  }
  template <sra::Variable X>
  X operator()(X x) const {
    auto& c = x.context();
    return affine_norm(x, leaf(c, weight), leaf(c, bias));
  }
};

/// A transformer block that normalises first.
template <int Width, int Heads>
struct PreNormBlock {
  Norm<Width> norm1, norm2;
  sra::Attention<Width, Heads> attention;
  sra::Mlp<Width, 2 * Width> mlp;

  static constexpr void visit(auto& self, auto&& f) {
    f("norm1", self.norm1);
    f("norm2", self.norm2);
    f("attn", self.attention);
    f("mlp", self.mlp);
  }
  template <sra::Variable X>
  X operator()(X x) const {
    const X y = x + attention(norm1(x));  // [B, T, D]
    return y + mlp(norm2(y));             // [B, T, D]
  }
};

/// Scores of classes from 4 x 4 patches, each of which overlaps half of its neighbours.
struct Network {
  static constexpr int grid = 4, stride = side / grid, patch = 2 * stride, width = 64, depth = 3;
  using Patches = Shape<dynamic, grid * grid, patch * patch>;

  sra::Linear<patch * patch, width> embed;
  sra::Param<1, grid * grid, width> place;
  std::array<PreNormBlock<width, 4>, depth> blocks;
  Norm<width> norm;
  sra::Linear<width, Judge::none + 1> head;

  static constexpr void visit(auto& self, auto&& f) {
    f("embed", self.embed);
    f("place", self.place);
    f("blocks", self.blocks);
    f("norm", self.norm);
    f("head", self.head);
  }
  void initialise(const auto& values, std::string_view name, std::uint64_t seed) const {
    values.fill(place, sra::init::Normal02::rule(1, 1, {seed, sra::Purpose::initialise, 1, sra::init::name_key(name)}));
  }
  /// @param patches [B, T, P P]  @return [B, classes and none]
  template <sra::Variable X>
  auto operator()(X patches) const {
    auto x = eval(embed(patches) + leaf(patches.context(), place));  // [B, T, D]
    for (const auto& block : blocks) x = block(x);                   // [B, T, D]
    return head(mean_tokens(norm(x)));                               // [B, classes and none]
  }
};

/// How much every pixel differs from the border's mean colour, over the root of its mean square: shapes do not depend on
/// colours, so the judge need not learn that.
std::array<float, side * side> contrast(const float* picture) {
  std::array<double, 3> border{};
  for (int i = 0; i < side * side; ++i) {
    const int x = i % side, y = i / side;
    if (x == 0 || y == 0 || x == side - 1 || y == side - 1)
      for (std::size_t c = 0; c < 3; ++c)
        border[c] += static_cast<double>(picture[3 * i + static_cast<int>(c)]) / (4 * side - 4);
  }
  std::array<float, side * side> to;
  double total = 0;
  for (std::size_t i = 0; i < to.size(); ++i) {
    double squares = 0;
    for (std::size_t c = 0; c < 3; ++c) squares += std::pow(static_cast<double>(picture[3 * i + c]) - border[c], 2);
    to[i] = static_cast<float>(std::sqrt(squares));
    total += squares;
  }
  const auto scale = static_cast<float>(1 / (std::sqrt(total / (side * side)) + 1e-3));
  for (float& x : to) x *= scale;
  return to;
}

/// Overlapping patches of a picture's contrast, zero beyond its edge.  @param to [T, P P]
void cut(const float* picture, float* to) {
  const auto from = contrast(picture);
  constexpr int margin = (Network::patch - Network::stride) / 2;
  for (int token = 0; token < Network::grid * Network::grid; ++token)
    for (int y = 0; y < Network::patch; ++y)
      for (int x = 0; x < Network::patch; ++x, ++to) {
        const int row = token / Network::grid * Network::stride + y - margin;
        const int column = token % Network::grid * Network::stride + x - margin;
        const bool inside = row >= 0 && row < side && column >= 0 && column < side;
        *to = inside ? from[static_cast<std::size_t>(row * side + column)] : 0.0f;
      }
}

std::span<float> picture_of(Pictures& p, index_t i) {
  return std::span(p.values).subspan(static_cast<std::size_t>(i * picture_size),
                                     static_cast<std::size_t>(picture_size));
}
Pictures room_for(index_t count) {
  return {std::vector<float>(static_cast<std::size_t>(count * picture_size)),
          std::vector<std::int32_t>(static_cast<std::size_t>(count))};
}

/// Picture number i of an endless row: class i mod 10.
void read_real(Pictures& to, index_t at, index_t i, std::uint64_t seed) {
  const sra::Rng rng(seed, sra::Purpose::user, 0, i);
  data.read(static_cast<std::size_t>(i), rng, {picture_of(to, at), to.labels[static_cast<std::size_t>(at)]});
}

/// The plane through a picture's corners: its background without its shape.
void paint_over(std::span<float> picture) {
  const auto corner = [&](int y, int x, int c) { return picture[static_cast<std::size_t>((y * side + x) * 3 + c)]; };
  std::array<float, 12> corners;
  for (int k = 0; k < 12; ++k)
    corners[static_cast<std::size_t>(k)] = corner(k / 6 * (side - 1), k / 3 % 2 * (side - 1), k % 3);
  for (int i = 0; i < side * side; ++i) {
    const float x = static_cast<float>(i % side) / (side - 1), y = static_cast<float>(i / side) / (side - 1);
    for (int c = 0; c < 3; ++c) {
      const auto at = [&](int k) { return corners[static_cast<std::size_t>(3 * k + c)]; };
      picture[static_cast<std::size_t>(3 * i + c)] =
          (1 - y) * ((1 - x) * at(0) + x * at(1)) + y * ((1 - x) * at(2) + x * at(3));
    }
  }
}

/// What a bad model draws: nothing, noise, two shapes at once, or halves of two.
void read_spoilt(Pictures& to, index_t at, index_t i, std::uint64_t seed) {
  read_real(to, at, i, seed);
  to.labels[static_cast<std::size_t>(at)] = Judge::none;
  const auto picture = picture_of(to, at);
  Pictures other = room_for(1);
  read_real(other, 0, i + 1 + i / 10 % 9, seed + 1);  // of another class
  sra::Stream draw(sra::Rng(seed, sra::Purpose::user, 1, i));
  const auto kind = draw.below(4);
  if (kind == 0) return paint_over(picture);
  const float t = draw.uniform(0.6f, 1.0f);
  for (std::size_t k = 0; k < picture.size(); ++k) {
    const float x = picture[k], y = other.values[k];
    const bool first = k / 3 % side < side / 2;
    picture[k] = kind == 1   ? std::clamp((1 - t) * x + t * draw.normal(), -1.0f, 1.0f)
                 : kind == 2 ? 0.5f * (x + y)
                 : first     ? x
                             : y;
  }
}

template <class Read>
Pictures pictures(index_t count, std::uint64_t seed, Read read) {
  Pictures p = room_for(count);
  for (index_t i = 0; i < count; ++i) read(p, i, i, seed);
  return p;
}

}  // namespace

Pictures real_pictures(index_t count, std::uint64_t seed) { return pictures(count, seed, read_real); }
Pictures spoilt_pictures(index_t count, std::uint64_t seed) { return pictures(count, seed, read_spoilt); }
Pictures blank_pictures(index_t count, std::uint64_t seed) {
  Pictures p = real_pictures(count, seed);
  for (index_t i = 0; i < count; ++i) paint_over(picture_of(p, i));
  return p;
}

struct Judge::Parts {
  static constexpr index_t batch = 64;
  sra::Cpu cpu;
  sra::Store<Network, sra::Cpu, float> store{cpu, 1};
  sra::Workspace<sra::Cpu> workspace{cpu};
  std::vector<float> patches = std::vector<float>(static_cast<std::size_t>(Network::Patches{batch}.size()));
  std::uint64_t seed;

  Parts(std::uint64_t s, int threads) : cpu({.threads = threads}), seed(s) {
    store.allocate();
    store.initialise(seed);
  }

  void cut_batch(const float* pictures, index_t count) {
    cpu.threads().for_each(count, [&](index_t b, int) {
      cut(pictures + b * picture_size, patches.data() + b * Network::Patches::sample_size());
    });
  }

  /// Losses and gradients of one batch, then AdamW.
  void step(const Pictures& p, index_t number, float lr) {
    cut_batch(p.values.data(), batch);
    std::ranges::fill(store.states(), sra::unwritten);
    {
      sra::Recording<sra::Cpu, float> context(workspace, store.student());
      const auto x = constant(context, sra::dense(patches.data(), Network::Patches{batch}));
      backward(mean(cross_entropy(store.module()(x), p.classes())));
      workspace.roll_back();
    }
    sra::Detached<sra::Cpu, float> context(workspace, store.live());
    const float* gradient = store.gradient();
    const double norm = std::sqrt(squared_norm(context, gradient, store.size()));
    update_parameters(context,
                      sra::UpdateArgs<float>{.count = store.size(),
                                             .master = store.master(),
                                             .m = store.first_moment(),
                                             .v = store.second_moment(),
                                             .gradient = gradient,
                                             .clip_scale = static_cast<float>(std::min(1.0, 1 / (norm + 1e-6))),
                                             .bias_correction1 = sra::bias_correction(0.9f, number + 1),
                                             .bias_correction2 = sra::bias_correction(0.98f, number + 1),
                                             .lr = lr,
                                             .settings = {.beta2 = 0.98f, .weight_decay = 0.01f}});
  }
};

Judge::Judge(std::uint64_t seed, int threads) : parts_(std::make_unique<Parts>(seed, threads)) {}
Judge::~Judge() = default;

bool Judge::train(index_t steps, const sra::SignalGuard& signals) {
  const sra::Schedule lr = sra::warmup_cosine(2e-3, std::min<index_t>(50, steps));
  for (index_t s = 0; s < steps && !signals.asked(); ++s) {
    // Five of six are real.
    const Pictures p = pictures(Parts::batch, parts_->seed, [s](Pictures& to, index_t at, index_t, std::uint64_t seed) {
      const index_t i = s * Parts::batch + at;
      i % 6 == 5 ? read_spoilt(to, at, i, seed) : read_real(to, at, i, seed);
    });
    parts_->step(p, s, static_cast<float>(lr({s, steps, 0})));
  }
  return !signals.asked();
}

std::vector<std::int32_t> Judge::classes(std::span<const float> images) {
  std::vector<std::int32_t> found;
  for (std::size_t at = 0; at < images.size(); at += static_cast<std::size_t>(Parts::batch * picture_size)) {
    const index_t count = std::min(Parts::batch, (std::ssize(images) - static_cast<index_t>(at)) / picture_size);
    parts_->cut_batch(images.data() + at, count);
    sra::Detached<sra::Cpu, float> context(parts_->workspace, parts_->store.live());
    const auto x = constant(context, sra::dense(parts_->patches.data(), Network::Patches{count}));
    const auto scores = parts_->store.module()(x);  // [n, classes and none]
    for (index_t b = 0; b < count; ++b) {
      const float* row = scores.value.row(b);
      found.push_back(static_cast<std::int32_t>(std::max_element(row, row + none + 1) - row));
    }
    parts_->workspace.roll_back();
  }
  return found;
}

sra::Estimate share(std::span<const std::int32_t> classes, std::span<const std::int32_t> expected) {
  std::vector<double> hits;
  for (std::size_t i = 0; i < classes.size(); ++i) hits.push_back(classes[i] == expected[i] ? 1.0 : 0.0);
  return sra::Estimate::of(hits);
}

}  // namespace demo
