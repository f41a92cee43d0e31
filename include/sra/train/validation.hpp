// The denoising loss on held-out samples and fixed draws: the same numbers decide between runs, steps and settings.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/captures.hpp>
#include <sra/autograd/host.hpp>
#include <sra/data/batch.hpp>
#include <sra/ops/reduce.hpp>
#include <sra/train/engine.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace sra {

/// Which samples and draws a validation takes.
struct ValidationOptions {
  index_t samples = 512;  ///< of a finite data set at most all; they are spread over it evenly
  std::uint64_t seed =
      0;  ///< of pictures of an endless source, times and noise; not the run's, so that runs can be compared
};

/// A mean and its standard error, from one number a sample.
struct Estimate {
  double mean = 0, standard_error = 0;

  static Estimate of(std::span<const double> values) {
    const double n = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    for (const double v : values) sum += v;
    for (const double v : values) squares += (v - sum / n) * (v - sum / n);
    return {sum / n, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0.0};
  }
};

/// The denoising loss of every sample, with the averaged weights and with the live ones.
struct Validation {
  std::vector<double> averaged, live;

  Estimate averaged_loss() const { return Estimate::of(averaged); }
  Estimate live_loss() const { return Estimate::of(live); }
};

/// b − a sample by sample: of two runs on the same draws, far more exact than the difference of two means.
/// @throws Error unless both have the same number of samples
inline Estimate paired_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size() || a.empty())
    throw Error(text("paired_difference: expected the same samples twice, got ", a.size(), " and ", b.size()));
  std::vector<double> difference;
  for (std::size_t i = 0; i < a.size(); ++i) difference.push_back(b[i] - a[i]);
  return Estimate::of(difference);
}

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

  /// The losses of samples of a data set, under a store's averaged and its live weights.
  /// @param batch samples at a time  @param step for messages
  template <Dataset D, class Weights>
  Validation validate(const D& data, const ValidationOptions& options, index_t batch, const Weights& store,
                      index_t step) {
    std::optional<Batch<typename D::Sample>> samples;
    Validation v;
    for (index_t first = 0; first < options.samples; first += batch) {
      const index_t n = std::min(batch, options.samples - first);
      if (!samples || samples->size() != n) samples.emplace(n);
      detail::read_held_out(data, options, first, *samples);
      const MicroBatch<Model> micro = micro_batch<Model>(*samples);
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
             Instantiated<Model, B, T, Objective>::denoising(model_, objective_, x, noise, times, condition).value);  // [B]
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
