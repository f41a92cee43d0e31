// One training step: losses and gradients of micro-batches, then the update.  The trainer's loop and files stand on it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/alignment/pass.hpp>
#include <sra/alignment/sra_loss.hpp>
#include <sra/autograd/var.hpp>
#include <sra/core/schedule.hpp>
#include <sra/core/settings.hpp>
#include <sra/data/batch.hpp>
#include <sra/diffusion/flow_matching.hpp>
#include <sra/ops/reduce.hpp>
#include <sra/train/store.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

namespace sra {

/// A micro-batch in the memory of the backend.
template <class Model>
struct MicroBatch {
  View<const float, typename Model::ImageShape> images;  ///< [B, H, W, C]
  typename Model::Condition::View condition;             ///< labels [B], vectors [B, K], or nothing
  const float* features = nullptr;                       ///< [B, feature_size] for the alignment, or none
  index_t feature_size = 0;                              ///< numbers of one sample
};

/// A batch of a data set as the model takes it; the batch must outlive it.
template <class Model, class Sample>
MicroBatch<Model> micro_batch(const Batch<Sample>& batch) {
  MicroBatch<Model> micro{batch.images(), {}};
  if constexpr (requires { Model::Condition::null_class; })
    micro.condition = dense(batch.labels().data(), Shape<dynamic>{batch.size()});
  else if constexpr (Model::Condition::count > 0)
    micro.condition = dense(batch.conditions().data(), Shape<dynamic, Model::Condition::count>{batch.size()});
  micro.features = batch.features().data();
  micro.feature_size = feature_size<Sample>;
  return micro;
}

/// Random numbers of a micro-batch that a caller gives instead of having them drawn; what is empty is drawn.
/// For tests against other implementations, and for paired comparisons.
template <class Model, class W>
struct Draws {
  View<const W, Shape<dynamic>> times{};                  ///< [B] in [0, 1]
  View<const W, Shape<dynamic>> teacher_times{};          ///< [B] in [0, 1]
  View<const float, typename Model::ImageShape> noise{};  ///< [B, H, W, C]
  bool condition_is_dropped = false;                      ///< the condition already is as the student sees it
};

/// What a micro-batch cost, read after the step.
struct Losses {
  double denoising = 0;  ///< mean over the batch
  double alignment = 0;  ///< unweighted
  double weight = 0;     ///< of the alignment
  double total = 0;      ///< denoising + weight · alignment
};

/// The memory of a training run by purpose, bytes.
struct MemoryPlan {
  std::size_t parameters = 0;   ///< values, moments, gradients and averages, and copies in the type of products
  std::size_t activations = 0;  ///< the most that one micro-batch keeps for its backward pass or has in work
  std::size_t gradients = 0;    ///< of activations, at most at one time

  std::size_t total() const { return parameters + activations + gradients; }
  /// One line.
  std::string text() const {
    const auto mib = [](std::size_t bytes) { return std::to_string((bytes + (1u << 19)) >> 20) + " MiB"; };
    return sra::text("memory ", mib(total()), ": parameters and optimizer ", mib(parameters), ", activations ",
                     mib(activations), ", their gradients ", mib(gradients));
  }
};

/// What an update did.
struct UpdateReport {
  double gradient_norm = 0;  ///< before clipping
  bool skipped = false;      ///< the norm was not finite, or above 1e18 after clipping: nothing was changed
};

/// Settings of the update.
struct UpdateSettings {
  double lr = 1e-4;
  AdamW<double> adamw{};
  double clip = 1.0;                      ///< largest gradient norm; 0: no clipping
  std::vector<double> ema_decay{0.9999};  ///< the first average is the teacher
  bool ema_warmup = true;                 ///< decay min(decay, (1 + n) / (10 + n)) at update n
};

/// Computes losses, gradients and updates of one model with one alignment.
/// Strong guarantee: an exception before the update leaves parameters, moments and averages as they were.
template <class Model, class Align, class Objective, Backend B, class T>
class Engine {
 public:
  using W = wide_t<T>;
  using Extra = typename Align::template Parameters<Model>;
  using Module = Trained<Model, Extra>;
  using Weights = Store<Module, B, T>;

  Engine(B& backend, Align align, Objective objective, int emas)
      : align_(checked(align)), objective_(objective), store_(backend, emas), workspace_(backend) {}

  Weights& store() { return store_; }
  const Weights& store() const { return store_; }
  Workspace<B>& workspace() { return workspace_; }
  const Align& align() const { return align_; }
  const Objective& objective() const { return objective_; }

  /// Call before the first micro-batch of a step: gradients are overwritten, not added to.
  void begin(const Progress& at) {
    for (std::size_t i = 0; i < store_.states().size(); ++i)
      store_.states()[i] = static_cast<unsigned char>(frozen_.empty() || !frozen_[i] ? unwritten : frozen);
    progress_ = at;
  }

  /// Parameters that are not updated: one flag each, or empty.
  void freeze(std::vector<bool> frozen) { frozen_ = std::move(frozen); }

  /// Losses and gradients of one micro-batch; gradients add up until the next begin().
  /// @param share of this micro-batch in the step, 1 / number of micro-batches  @param dropout probability of the null condition
  Losses run(const MicroBatch<Model>& batch, DrawKey key, const Draws<Model, W>& draws, float dropout, double share) {
    if (!store_.allocated()) throw Error("Engine: expected store().allocate() before the first step");
    try {
      forward_backward(batch, key, draws, dropout, share);
    } catch (...) {
      workspace_.roll_back();
      throw;
    }
    workspace_.roll_back();
    return {double(losses_[0]), double(losses_[1]), double(scheduled_[0]), double(losses_[2])};
  }

  /// What a micro-batch of this size takes, found without computing; may be asked before the parameters have memory, but not
  /// within a step.
  MemoryPlan plan(index_t batch) {
    const std::vector<unsigned char> states = store_.states();
    workspace_.plan(true);
    try {
      forward_backward(shapes_of(batch), {}, {}, 0, 1);
    } catch (...) {
      workspace_.roll_back();
      workspace_.plan(false);
      store_.states() = states;
      throw;
    }
    workspace_.roll_back();
    const MemoryPlan plan{.parameters = store_.planned_bytes(),
                          .activations = workspace_.activations.peak(),
                          .gradients = workspace_.gradients.peak()};
    workspace_.plan(false);
    store_.states() = states;
    return plan;
  }
  /// Takes what a plan says a micro-batch needs, at once.
  void reserve(const MemoryPlan& plan) {
    workspace_.activations.reserve(plan.activations);
    workspace_.gradients.reserve(plan.gradients);
  }

  /// The denoising loss of each sample of the last micro-batch.
  const std::vector<W>& denoising_per_sample() const { return per_sample_; }

  /// Clips, AdamW, averages, in one pass; skips everything if the gradient is not finite.
  /// @param update number of this update, 0-based
  UpdateReport update(index_t update, const UpdateSettings& s) {
    zero_unwritten();
    Detached<B, T> context(workspace_, store_.live());
    UpdateReport report;
    report.gradient_norm = std::sqrt(squared_norm(context, store_.gradient(), store_.size()));
    const double clip = s.clip > 0 ? std::min(1.0, s.clip / (report.gradient_norm + 1e-6)) : 1.0;
    if (!(report.gradient_norm * clip < 1e18)) {  // its square must be a float
      report.skipped = true;
      return report;
    }
    const double n = static_cast<double>(update);
    ema_.clear();
    decay_.clear();
    for (int i = 0; i < store_.emas(); ++i) {
      const double d = s.ema_decay[static_cast<std::size_t>(i)];
      ema_.push_back(store_.ema(i));
      decay_.push_back(static_cast<W>(s.ema_warmup ? std::min(d, (1 + n) / (10 + n)) : d));
    }
    const AdamW<W> adamw{static_cast<W>(s.adamw.beta1), static_cast<W>(s.adamw.beta2), static_cast<W>(s.adamw.eps),
                         static_cast<W>(s.adamw.weight_decay)};
    UpdateArgs<W, T> args{.master = store_.master(),
                          .m = store_.first_moment(),
                          .v = store_.second_moment(),
                          .gradient = store_.gradient(),
                          .ema = ema_.data(),
                          .ema_decay = decay_.data(),
                          .emas = store_.emas(),
                          .values = store_.values(),
                          .teacher = store_.teacher(),
                          .clip_scale = static_cast<W>(clip),
                          .bias_correction1 = bias_correction(adamw.beta1, update + 1),
                          .bias_correction2 = bias_correction(adamw.beta2, update + 1),
                          .lr = static_cast<W>(s.lr),
                          .settings = adamw};
    for_ranges([&](index_t first, index_t count, bool updated) {
      args.first = first;
      args.count = count;
      args.frozen = !updated;
      update_parameters(context, args);
    });
    return report;
  }

  /// The first parameter whose gradient is not finite, or "".
  std::string first_not_finite() const {
    for (const ParamInfo& p : store_.parameters())
      for (index_t i = 0; i < p.size; ++i)
        if (!std::isfinite(static_cast<double>(store_.gradient()[p.offset + i]))) return p.name;
    return "";
  }

 private:
  using C = Recording<B, T>;

  static Align checked(Align align) {
    if constexpr (requires { align.template check<Model>(); }) align.template check<Model>();
    return align;
  }

  /// A micro-batch without data, for planning.
  static MicroBatch<Model> shapes_of(index_t batch) {
    MicroBatch<Model> micro{{nullptr, typename Model::ImageShape{batch}}, {}};
    if constexpr (Model::Condition::count > 0) micro.condition.shape = {batch};
    return micro;
  }

  void forward_backward(const MicroBatch<Model>& batch, DrawKey key, const Draws<Model, W>& draws, float dropout,
                        double share) {
    constexpr std::size_t taps = decltype(align_.taps())::size;
    C context(workspace_, store_.student());
    const auto& model = store_.module().model;
    using P = Pass<Model, Objective, C, taps>;
    const typename Model::ImageShape shape{batch.images.shape.batch};
    auto x = make_dense<W>(context, shape).stop_gradient(), noise = make_dense<W>(context, shape).stop_gradient();
    copy(context, x.value, batch.images);
    if (draws.noise.data)
      copy(context, noise.value, draws.noise);
    else
      draw_normal(context, noise.value, key, Purpose::noise);
    View<const W, Shape<dynamic>> t = draws.times;
    if (!t.data) {
      const auto drawn = context.template tensor<W>(Shape<dynamic>{shape.batch});
      objective_.draw_times(context, drawn, key);
      t = drawn;
    }
    const auto condition =
        draws.condition_is_dropped ? batch.condition : Model::Condition::drop(context, batch.condition, key, dropout);
    P pass(context, model, objective_, store_.averaged(), align_.taps(),
           {x, noise, t, condition, batch.condition, batch.features, batch.feature_size, key, draws.teacher_times,
            progress_, scheduled_, losses_ + 1});
    const auto velocity = model(objective_.noised(x, noise, t), t, condition,
                                [&](int i, const auto& tokens) { pass.on_block(i, tokens); });
    const auto denoising = objective_.loss(velocity, x, noise, t);  // [B]
    if constexpr (std::is_same_v<Align, NoAlignment>) {
      const auto total = mean(denoising);  // [1]
      keep(context, denoising.value, total.value);
      backward(total, static_cast<W>(share));
    } else {
      const auto guidance = align_(pass, store_.module().extra);  // [1]
      constexpr bool one_number = std::is_same_v<detail::ShapeOfExpr<decltype(guidance)>, Shape<1>>;
      static_assert(one_number, "Trainer: the alignment must return one number, as mean() and pass.weighted() do");
      if constexpr (one_number) {
        Var<W, Shape<1>, C> total = mean(denoising) + guidance;  // [1]
        keep(context, denoising.value, total.value);
        backward(total, static_cast<W>(share));
      }
    }
  }

  /// Copies the losses out of the step's memory.
  void keep(C& context, View<W, Shape<dynamic>> denoising, View<W, Shape<1>> total) {
    per_sample_.resize(static_cast<std::size_t>(denoising.shape.batch));
    copy(context, dense(per_sample_.data(), denoising.shape), denoising);
    copy(context, dense(losses_ + 2, Shape<1>{}), total);
    if (context.planning()) return;
    double sum = 0;
    for (const W l : per_sample_) sum += static_cast<double>(l);
    losses_[0] = static_cast<W>(sum / static_cast<double>(per_sample_.size()));
  }

  bool trained(const ParamInfo& p, std::size_t i) const {
    return p.kind == ParamKind::trained && (frozen_.empty() || !frozen_[i]);
  }

  /// Gradients that nobody wrote are zero, not what the last step left there.
  void zero_unwritten() {
    const auto& list = store_.parameters();
    for (std::size_t i = 0; i < list.size(); ++i)
      if (store_.states()[i] != written)
        std::memset(store_.gradient() + list[i].offset, 0, static_cast<std::size_t>(list[i].size) * sizeof(W));
  }

  /// Calls f(first, count, updated) for the longest runs of parameters that are treated alike.
  template <class F>
  void for_ranges(F f) const {
    const auto& list = store_.parameters();
    for (std::size_t i = 0; i < list.size();) {
      const bool updated = trained(list[i], i);
      std::size_t j = i;
      while (j < list.size() && trained(list[j], j) == updated) ++j;
      const index_t end = j < list.size() ? list[j].offset : store_.size();
      f(list[i].offset, end - list[i].offset, updated);
      i = j;
    }
  }

  Align align_;
  Objective objective_;
  Weights store_;
  Workspace<B> workspace_;
  std::vector<bool> frozen_;
  std::vector<W> per_sample_;
  std::vector<W*> ema_;
  std::vector<W> decay_;
  W scheduled_[8] = {};
  Progress progress_{};
  W losses_[3] = {};
};

}  // namespace sra
