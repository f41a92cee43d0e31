// The denoising loss on held-out samples and fixed draws: the same numbers decide between runs, steps and settings.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/captures.hpp>
#include <sra/autograd/host.hpp>
#include <sra/core/estimate.hpp>
#include <sra/data/batch.hpp>
#include <sra/io/npy.hpp>
#include <sra/ops/reduce.hpp>
#include <sra/train/engine.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

namespace sra {

/// Which samples and draws a validation takes.
struct ValidationOptions {
  index_t samples = 512;  ///< of a finite data set at most all; they are spread over it evenly
  std::uint64_t seed =
      0;  ///< of pictures of an endless source, times and noise; not the run's, so that runs can be compared
};

/// The denoising loss of every sample, with the averaged weights and with the live ones.
struct Validation {
  std::vector<double> averaged, live;

  Estimate averaged_loss() const { return Estimate::of(averaged); }
  Estimate live_loss() const { return Estimate::of(live); }

  /// Writes both as one .npy of doubles, [2, samples], the averaged first.
  void write(const std::filesystem::path& path) const {
    std::vector<double> both = averaged;
    both.insert(both.end(), live.begin(), live.end());
    write_npy<double>(path, both, {2, static_cast<index_t>(averaged.size())});
  }
};

namespace detail {

/// Reads `count` validation samples beginning with number `first` of `o.samples`.
template <Dataset D>
void read_held_out(const D& data, const ValidationOptions& o, index_t first, Batch<typename D::Sample>& batch) {
  for (index_t b = 0; b < batch.size(); ++b) {
    const index_t i = first + b;
    auto item = static_cast<std::size_t>(i);
    if constexpr (Finite<D>) item = static_cast<std::size_t>(i * static_cast<index_t>(data.size()) / o.samples);
    read_checked(data, item, Rng(o.seed, Purpose::validation, 0, i), batch.row(b));
  }
}

}  // namespace detail

/// Computes denoising losses without tape, alignment or dropped conditions, in a workspace of its own.  Replayed as a sampler's
/// evaluations are, where the backend does.
template <class Model, class Objective, Backend B, class T>
class Validator {
 public:
  using W = wide_t<T>;

  Validator(B& backend, const Model& model, const Objective& objective)
      : model_(model), objective_(objective), workspace_(backend), evaluations_(workspace_) {}

  /// The losses of all samples, `most` at a time, under a store's averaged and its live weights.
  /// @param step finished updates, for messages
  template <Dataset D, class S>
  Validation validate(const D& data, ValidationOptions options, index_t most, const S& store, index_t step) {
    if constexpr (Finite<D>) options.samples = std::min(options.samples, static_cast<index_t>(data.size()));
    if (options.samples < 1) throw Error(text("Trainer: validate: expected at least 1 sample, got ", options.samples));
    most = std::min(options.samples, most);
    std::optional<Batch<typename D::Sample>> batch;
    Validation v;
    for (index_t first = 0; first < options.samples; first += most) {
      const index_t n = std::min(most, options.samples - first);
      if (!batch || batch->size() != n) batch.emplace(n);
      detail::read_held_out(data, options, first, *batch);
      const MicroBatch<Model> micro = micro_batch<Model>(*batch);
      check_batch(micro, step, first, false);
      const DrawKey key{Rng(options.seed, Purpose::validation, 0, 0).bits64(0), 0, first};
      losses(micro, store.averaged(), key, v.averaged);
      losses(micro, store.live(), key, v.live);
    }
    return v;
  }

  /// Appends the losses of a batch under some weights.  @param key of times and noise
  void losses(const MicroBatch<Model>& batch, ParameterTable<T> weights, DrawKey key, std::vector<double>& to) {
    try {
      Detached<B, T> context(workspace_, weights);
      const typename Model::ImageShape shape{batch.images.shape.batch};
      const auto x = make_dense<W>(context, shape).stop_gradient(),
                 noise = make_dense<W>(context, shape).stop_gradient();
      copy_in(context, x.value, batch.images);
      draw_normal(context, noise.value, key, Purpose::noise);
      const auto t = context.template tensor<W>(Shape<dynamic>{shape.batch});
      objective_.draw_times(context, t, key);
      const View<const W, Shape<dynamic>> times = t;
      const auto condition = on_device(context, batch.condition);
      const auto losses = context.template tensor<W>(Shape<dynamic>{shape.batch});
      evaluations_.run({shape.batch, weights.values}, [&] {
        const Arena::Mark before = workspace_.activations.mark();
        copy(context, losses,
             Instantiated<Model, B, T, Objective>::denoising(model_, objective_, x, noise, times, condition)
                 .value);  // [B]
        workspace_.activations.pop(before);
      });
      read_.resize(static_cast<std::size_t>(shape.batch));
      context.backend().download(read_.data(), losses.data, read_.size() * sizeof(W));
      for (const W loss : read_) to.push_back(static_cast<double>(loss));
    } catch (...) {
      workspace_.roll_back();
      throw;
    }
    workspace_.roll_back();
  }

 private:
  /// What an evaluation depends on beside its place on the stack, where everything else is.
  struct Evaluation {
    index_t samples;
    const T* weights;
    bool operator==(const Evaluation&) const = default;
  };

  const Model& model_;
  const Objective& objective_;
  Workspace<B> workspace_;
  Repeated<B, Evaluation> evaluations_;
  std::vector<W> read_;
};

}  // namespace sra
