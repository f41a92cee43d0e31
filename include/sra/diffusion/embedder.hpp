// Features: what the blocks of a model make of noised images, for probes, retrieval and pictures.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/host.hpp>
#include <sra/autograd/var.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/error.hpp>
#include <sra/core/philox.hpp>
#include <sra/diffusion/flow_matching.hpp>
#include <sra/diffusion/path.hpp>
#include <sra/expr/pointwise.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <utility>
#include <vector>

namespace sra {

namespace backend {
class Cpu;
}

/// What may be chosen about features.
struct EmbedderOptions {
  std::uint64_t seed = 0;    ///< of the noise
  index_t first_sample = 0;  ///< number of the first image; an image's noise depends on seed and its number
  index_t max_batch = 32;    ///< images at a time
};

/// Features of images after blocks of a model: the residual stream as alignments see it, no norm, no head.  An image x is seen at
/// its time t as x_t = α x + σ ε.  Images, times, conditions and features are memory of the host.  Independent of the number of
/// threads; an image's features do not depend on the other images as long as the backend's products of a row do not depend on the
/// number of rows: those of the CPU do not.
///
///     sra::Embedder embedder(trainer.backend(), trainer.model(), trainer.engine().store().averaged());  // or .live()
///     const auto features = embedder.embed(images, {0.1}, labels, 4);   // [N, T, D], after block 4 at t = 0.1
///
/// @tparam Model a SiT, or a type with its ImageShape, TokenShape, config, Condition, condition(), embed() and run()
/// @tparam T type that products read  @tparam Path that the model was trained on
template <class Model, Backend B = backend::Cpu, class T = float, class Path = LinearPath>
class Embedder {
 public:
  using Number = wide_t<T>;
  using ImageShape = typename Model::ImageShape;
  using TokenShape = typename Model::TokenShape;
  using Condition = typename Model::Condition::View;
  using Images = View<const float, ImageShape>;
  using Features = View<const Number, TokenShape>;
  using Times = std::span<const double>;

  /// @param module, weights must outlive the embedder; the module's offsets point into the weights
  Embedder(B& backend, const Model& module, ParameterTable<T> weights, Path = {})
      : model_(module), weights_(weights), workspace_(backend) {}

  /// Features after several blocks by one pass, which ends after the deepest.
  /// @param images [N, H, W, C] without gaps  @param times [N] in [0, 1], or one for all
  /// @param condition labels [N], vectors [N, K]; empty: the null condition  @param blocks numbers from 1 to the depth
  /// @return [N, T, D] for each of `blocks`, in their order; memory of the embedder, valid until its next call
  /// @throws Error for sizes that do not fit together, and for blocks, times and labels out of range
  const std::vector<Features>& embed(Images images, Times times, Condition condition, std::span<const int> blocks,
                                     const EmbedderOptions& options = {}) {
    check(images.shape.batch, times, options);
    check_condition(images.shape.batch, condition);
    for (const int block : blocks)
      if (block < 1 || block > Model::config.depth)
        throw Error(text("Embedder: expected blocks from 1 to ", Model::config.depth, ", got ", block));
    numbers_.resize(blocks.size());
    features_.clear();
    for (auto& numbers : numbers_) {
      numbers.resize(static_cast<std::size_t>(TokenShape{images.shape.batch}.size()));
      features_.push_back(dense(std::as_const(numbers).data(), TokenShape{images.shape.batch}));
    }
    for_chunks(images, options, [&](auto& context, index_t first, index_t count) {
      run_chunk(context, images, times, condition, blocks, options, first, count);
    });
    return features_;
  }
  /// The same after one block.  @return [N, T, D]
  Features embed(Images images, Times times, Condition condition, int block, const EmbedderOptions& options = {}) {
    return embed(images, times, condition, std::span(&block, 1), options)[0];
  }
  Features embed(Images images, std::initializer_list<double> times, Condition condition, int block,
                 const EmbedderOptions& options = {}) {
    return embed(images, Times(times.begin(), times.size()), condition, block, options);
  }

  /// What the model is shown of images: x_t = α x + σ ε with the noise of embed().
  /// @param to [N, H, W, C] in the host's memory without gaps, written
  void noised(Images images, Times times, View<Number, ImageShape> to, const EmbedderOptions& options = {}) {
    check(images.shape.batch, times, options);
    if (to.shape.batch != images.shape.batch)
      throw Error(text("Embedder: noised: expected room for ", images.shape.batch, " images, got ", to.shape.batch));
    for_chunks(images, options, [&](auto& context, index_t first, index_t count) {
      const auto t = times_of(context, times, first, count);
      const auto x = seen(context, images, t, options, first, count);  // [n, H, W, C]
      copy_out(context, samples_of(to, first, count), View<const Number, ImageShape>(x.value));
    });
  }

 private:
  using Quiet = Detached<B, T>;

  /// Calls f(context, first, count) for the chunks of all images.
  template <class F>
  void for_chunks(Images images, const EmbedderOptions& o, F f) {
    try {
      for (index_t first = 0; first < images.shape.batch; first += o.max_batch) {
        Quiet context(workspace_, weights_);
        f(context, first, std::min(o.max_batch, images.shape.batch - first));
        workspace_.backend.wait();
        workspace_.roll_back();
      }
    } catch (...) {
      workspace_.roll_back();
      throw;
    }
  }

  void run_chunk(Quiet& context, Images images, Times times, Condition condition, std::span<const int> blocks,
                 const EmbedderOptions& o, index_t first, index_t count) {
    if (blocks.empty()) return;
    const auto t = times_of(context, times, first, count);
    const auto s = model_.condition(context, t, condition_of(context, condition, first, count));  // [n, D]
    const auto tokens = model_.embed(seen(context, images, t, o, first, count));                  // [n, T, D]
    model_.run(tokens, s, *std::max_element(blocks.begin(), blocks.end()), [&](int i, const auto& x) {
      for (std::size_t k = 0; k < blocks.size(); ++k)
        if (blocks[k] == i) give(context, x, dense(numbers_[k].data(), TokenShape{images.shape.batch}), first);
    });
  }

  /// Samples [first, …) of `to` = x.
  template <Variable X>
  void give(Quiet& context, const X& x, View<Number, TokenShape> to, index_t first) {
    const Arena::Mark before = workspace_.activations.mark();
    const auto wide = make_dense<Number>(context, x.value.shape);  // [n, T, D]
    copy(context, wide.value, x.value);
    copy_out(context, samples_of(to, first, x.batch()), View<const Number, TokenShape>(wide.value));
    workspace_.activations.pop(before);
  }

  /// x_t of a chunk.  @return [n, H, W, C]
  auto seen(Quiet& context, Images images, View<const Number, Shape<dynamic>> t, const EmbedderOptions& o,
            index_t first, index_t count) {
    const auto x = make_dense<Number>(context, ImageShape{count}),
               noise = make_dense<Number>(context, ImageShape{count});
    copy_in(context, x.value, samples_of(images, first, count));
    draw_normal(context, noise.value, DrawKey{o.seed, 0, o.first_sample + first}, Purpose::noise);
    return FlowMatching<Path>{}.noised(x, noise, t);
  }

  /// @return [n] where kernels read
  View<const Number, Shape<dynamic>> times_of(Quiet& context, Times times, index_t first, index_t count) {
    times_.clear();
    for (index_t i = first; i < first + count; ++i)
      times_.push_back(static_cast<Number>(times[times.size() == 1 ? 0 : static_cast<std::size_t>(i)]));
    return on_device(context, dense(std::as_const(times_).data(), Shape<dynamic>{count}));
  }

  /// Rows of a condition, or of the null condition.
  Condition condition_of(Quiet& context, Condition all, index_t first, index_t count) {
    if constexpr (Model::Condition::count == 0) {
      return all;
    } else {
      if (all.data) return on_device(context, samples_of(all, first, count));
      using E = std::remove_const_t<typename Condition::type>;
      const typename Condition::shape_type shape{count};
      const auto null = dense(context.template take<E>(shape.size()), shape);
      if constexpr (requires { Model::Condition::null_class; })
        fill(context, null, E{Model::Condition::null_class});
      else
        fill(context, null, E{0});
      return null;
    }
  }

  static void check(index_t n, Times times, const EmbedderOptions& o) {
    if (n < 1) throw Error(text("Embedder: expected at least 1 image, got ", n));
    if (o.max_batch < 1) throw Error(text("Embedder: max_batch: expected at least 1, got ", o.max_batch));
    if (times.size() != 1 && std::cmp_not_equal(times.size(), n))
      throw Error(text("Embedder: expected 1 time or ", n, ", got ", times.size()));
    for (const double t : times)
      if (!(t >= 0 && t <= 1)) throw Error(text("Embedder: expected times in [0, 1], got ", t));
  }
  static void check_condition(index_t n, Condition condition) {
    if constexpr (Model::Condition::count > 0) {
      if (!condition.data) return;
      if (condition.shape.batch != n)
        throw Error(text("Embedder: condition: expected ", n, " rows, got ", condition.shape.batch));
      if constexpr (requires { Model::Condition::complaint(condition); }) {
        if (const auto sentence = Model::Condition::complaint(condition); !sentence.empty())
          throw Error("Embedder: " + sentence);
      }
    }
  }

  const Model& model_;
  ParameterTable<T> weights_;
  Workspace<B> workspace_;
  std::vector<std::vector<Number>> numbers_;  ///< of each block asked for
  std::vector<Features> features_;
  std::vector<Number> times_;
};

template <class Model, Backend B, class T>
Embedder(B&, const Model&, ParameterTable<T>) -> Embedder<Model, B, T>;

}  // namespace sra
