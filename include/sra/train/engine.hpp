// One training step: losses and gradients of micro-batches, then the update.  The trainer's loop and files stand on it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/alignment/pass.hpp>
#include <sra/alignment/sra_loss.hpp>
#include <sra/autograd/host.hpp>
#include <sra/autograd/var.hpp>
#include <sra/core/schedule.hpp>
#include <sra/core/settings.hpp>
#include <sra/diffusion/flow_matching.hpp>
#include <sra/ops/reduce.hpp>
#include <sra/train/memory_plan.hpp>
#include <sra/train/micro_batch.hpp>
#include <sra/train/replay.hpp>
#include <sra/train/reports.hpp>
#include <sra/train/store.hpp>
#include <sra/train/tensor_statistics.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace sra {

/// Computes losses, gradients and updates of one model with one alignment.
/// Strong guarantee: an exception before the update leaves parameters, moments and averages as they were.
template <class Model, class Align, class Objective, Backend B, class T>
class Engine {
 public:
  using W = wide_t<T>;
  using Extra = typename Align::template Parameters<Model>;
  using Module = Trained<Model, Extra>;
  using Weights = Store<Module, B, T>;

  using Ticket = std::uint64_t;
  /// Whether losses and reports may come later than the steps that they are of: see start().
  static constexpr bool late = replays<B>;

  Engine(B& backend, Align align, Objective objective, int emas)
      : align_(checked(align)),
        objective_(objective),
        store_(backend, emas),
        workspace_(backend),
        replay_(workspace_, per_sample_) {
    make_room(0);
  }

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
  void freeze(std::vector<bool> frozen) {
    frozen_ = std::move(frozen);
    if constexpr (late) replay_.clear();
  }

  /// Losses and gradients of one micro-batch; gradients add up until the next begin().
  /// @param share of this micro-batch in the step, 1 / number of micro-batches  @param dropout probability of the null condition
  Losses run(const MicroBatch<Model>& batch, DrawKey key, const Draws<Model, W>& draws, float dropout, double share) {
    if (!store_.allocated()) throw Error("Engine: expected store().allocate() before the first step");
    make_room(batch.images.shape.batch);
    try {
      forward_backward(batch, key, draws, dropout, share, {scheduled_, B::is_host ? scheduled_ : numbers()});
    } catch (...) {
      workspace_.roll_back();
      throw;
    }
    workspace_.roll_back();
    return read_losses(batch.images.shape.batch);
  }

  /// What a micro-batch of this size takes, found without computing; may be asked before the parameters have memory, but not
  /// within a step.
  MemoryPlan plan(index_t batch) {
    const std::vector<unsigned char> states = store_.states();
    workspace_.plan(true);
    try {
      forward_backward(shapes_of(batch), {}, {}, 0, 1, {scheduled_, B::is_host ? scheduled_ : numbers()});
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
  /// Bytes that it has of what plans count.
  std::size_t held() const { return store_.held() + workspace_.activations.held() + workspace_.gradients.held(); }
  /// Takes what a plan says a micro-batch needs, at once.
  void reserve(const MemoryPlan& plan) {
    if constexpr (late) replay_.clear();
    workspace_.activations.reserve(plan.activations);
    workspace_.gradients.reserve(plan.gradients);
  }

  /// The denoising loss of each sample of the last micro-batch whose losses are known.
  const std::vector<W>& denoising_per_sample() const { return per_sample_; }

  /// Clips, AdamW, averages, in one pass; skips everything if the gradient is not finite.
  /// @param update number of this update, 0-based
  UpdateReport update(index_t update, const UpdateSettings& s) {
    Detached<B, T> context(workspace_, store_.live());
    zero_unwritten(context);
    UpdateReport report;
    report.gradient_norm = std::sqrt(Passes::squares(context, store_.gradient(), store_.size()));
    const double clip = s.clip > 0 ? std::min(1.0, s.clip / (report.gradient_norm + 1e-6)) : 1.0;
    if (!(report.gradient_norm * clip < 1e18)) {  // its square must be a float
      report.skipped = true;
      return report;
    }
    UpdateArgs<W, T> args = update_args(update, s);
    args.clip_scale = static_cast<W>(clip);
    for_ranges([&](index_t first, index_t count, bool updated) {
      args.first = first;
      args.count = count;
      args.frozen = !updated;
      Passes::update(context, args);
    });
    return report;
  }

  /// Like run(), but once workspace() is frozen, on a backend that replays steps, only told to the device: then the losses are not
  /// yet known.  What an alignment does beside schedules and draws is captured as it was at first.
  /// @param to += share · losses, at the latest by deliver(); must stay where it is until then
  void start(const MicroBatch<Model>& batch, DrawKey key, float dropout, double share, Losses& to) requires(late) {
    make_room(batch.images.shape.batch);
    if (replaying() && replay_.takes(batch)) {
      auto* form = replay_.micro_batch(store_.states(), dropout, share);
      if (!form) form = capture(dropout, share);
      if (form) {
        store_.refresh();
        replay_.launch(*form, batch, key, progress_, numbers() + reported, to);
        store_.states() = form->after;
        return;
      }
    }
    deliver(replay_.last());
    const Losses l = run(batch, key, {}, dropout, share);
    to.denoising += share * l.denoising;
    to.alignment += share * l.alignment;
    to.total += share * l.total;
    to.weight = l.weight;
  }
  /// Like update(), but on such a backend only told to the device, which decides by itself whether to skip.
  /// @param to the report, at the latest by deliver()  @return what to wait for
  Ticket start_update(index_t update, const UpdateSettings& s, UpdateReport& to) requires(late) {
    if (replaying()) {
      auto* form = replay_.update(store_.states());
      if (!form) form = capture_update(s);
      if (form) {
        UpdateState<W> state(update_args(update, s));
        state.clip = s.clip;
        replay_.launch(*form, state, to);
        return replay_.last();
      }
    }
    deliver(replay_.last());
    to = this->update(update, s);
    return replay_.last();
  }
  /// Waits for what was started, up to a ticket.
  void deliver(Ticket until) requires(late) { replay_.deliver(until); }
  /// The same, and what was started after it is given up.
  void forget(Ticket after) requires(late) { replay_.forget(after); }

  /// Statistics of every parameter after an update.
  /// @param update its number, 0-based; -1: none was made  @param s its settings
  std::vector<TensorStatistics> tensor_statistics(index_t update, const UpdateSettings& s) {
    Detached<B, T> context(workspace_, {});
    return sra::tensor_statistics(context, store_, update_args(update, s),
                                  [&](const ParamInfo& p, std::size_t i) { return update >= 0 && trained(p, i); });
  }

  /// The first parameter whose gradient is not finite, or "".
  std::string first_not_finite() const {
    for (const ParamInfo& p : store_.parameters())
      for (const W g : store_.values_of(store_.gradient(), p))
        if (!std::isfinite(static_cast<double>(g))) return p.name;
    return "";
  }

 private:
  using C = Recording<B, T>;
  using Passes = Instantiated<Model, B, T, Objective>;
  using Times = View<const W, Shape<dynamic>>;
  struct NoReplay {
    NoReplay(Workspace<B>&, std::vector<W>&) {}
  };
  /// Places in numbers_: the unweighted alignment, the loss that is differentiated, the denoising loss of each sample.
  static constexpr index_t reported = ScheduledNumbers<W>::most, weighted_sum = reported + 1, per_sample = reported + 2;

  static Align checked(Align align) {
    if constexpr (requires { align.template check<Model>(); }) align.template check<Model>();
    return align;
  }

  /// Graphs need addresses that stay.
  bool replaying() const { return workspace_.activations.frozen() && replay_.wanted(); }

  /// Captures a micro-batch of the sizes that replay_ takes, or returns null: then steps are not replayed from now on.
  auto* capture(float dropout, double share) {
    const std::vector<unsigned char> before = store_.states();
    store_.refresh();
    auto* form =
        replay_.capture_micro_batch(dropout, share, scheduled_, store_.states(),
                                    [&](const auto& placed, DrawKey key, const ScheduledNumbers<W>& scheduled) {
                                      forward_backward(placed, key, {}, dropout, share, scheduled);
                                    });
    store_.states() = before;
    workspace_.roll_back();
    return form;
  }
  auto* capture_update(const UpdateSettings& s) {
    auto* form = replay_.capture_update(store_.states(), [&](UpdateState<W>* state) {
      Detached<B, T> context(workspace_, store_.live());
      zero_unwritten(context);
      decide_update(context, store_.gradient(), store_.size(), state);
      UpdateArgs<W, T> args = update_args(0, s);  // its addresses
      for_ranges([&](index_t first, index_t count, bool updated) {
        args.first = first;
        args.count = count;
        args.frozen = !updated;
        update_parameters(context, args, state);
      });
    });
    workspace_.roll_back();
    return form;
  }

  /// Everything but the range and clip_scale.  @param update number of this update, 0-based
  UpdateArgs<W, T> update_args(index_t update, const UpdateSettings& s) const {
    const double n = static_cast<double>(update);
    const AdamW<W> adamw{static_cast<W>(s.adamw.beta1), static_cast<W>(s.adamw.beta2), static_cast<W>(s.adamw.eps),
                         static_cast<W>(s.adamw.weight_decay)};
    UpdateArgs<W, T> args{.master = store_.master(),
                          .m = store_.first_moment(),
                          .v = store_.second_moment(),
                          .gradient = store_.gradient(),
                          .emas = store_.emas(),
                          .values = store_.values(),
                          .teacher = store_.teacher(),
                          .bias_correction1 = bias_correction(adamw.beta1, update + 1),
                          .bias_correction2 = bias_correction(adamw.beta2, update + 1),
                          .lr = static_cast<W>(s.lr),
                          .settings = adamw};
    for (int i = 0; i < args.emas; ++i) {
      const double d = s.ema_decay[static_cast<std::size_t>(i)];
      args.ema[i] = store_.ema(i);
      args.ema_decay[i] = static_cast<W>(s.ema_warmup ? std::min(d, (1 + n) / (10 + n)) : d);
    }
    return args;
  }

  /// A micro-batch without data, for planning.
  static MicroBatch<Model> shapes_of(index_t batch) {
    MicroBatch<Model> micro{{nullptr, typename Model::ImageShape{batch}}, {}};
    if constexpr (Model::Condition::count > 0) micro.condition.shape = {batch};
    return micro;
  }

  /// @param batch in memory of the host, or, while a step is captured, of the device
  void forward_backward(const MicroBatch<Model>& batch, DrawKey key, const Draws<Model, W>& draws, float dropout,
                        double share, const ScheduledNumbers<W>& scheduled) {
    constexpr std::size_t taps = decltype(align_.taps())::size;
    C context(workspace_, store_.student());
    const auto& model = store_.module().model;
    using P = Pass<Model, Objective, C, taps>;
    const typename Model::ImageShape shape{batch.images.shape.batch};
    auto x = make_dense<W>(context, shape).stop_gradient(), noise = make_dense<W>(context, shape).stop_gradient();
    copy_in(context, x.value, batch.images);
    if (draws.noise.data)
      copy_in(context, noise.value, draws.noise);
    else
      draw_normal(context, noise.value, key, Purpose::noise);
    const Times t = times(context, draws.times, shape.batch, key);
    const Times teacher_times = draws.teacher_times.data ? on_device(context, draws.teacher_times) : Times{};
    const auto given = on_device(context, batch.condition);
    const auto condition = draws.condition_is_dropped ? given : Model::Condition::drop(context, given, key, dropout);
    P pass(context, model, objective_, store_.averaged(), align_.taps(),
           {x, noise, t, condition, given, batch.features, batch.feature_size, key, teacher_times, progress_, scheduled,
            numbers() + reported});
    const BlockVisitor<typename P::Feature> on_block(pass);
    const auto denoising = Passes::denoising(model, objective_, x, noise, t, condition, on_block);  // [B]
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

  /// Given times on the device, or drawn ones.  @return [B]
  Times times(C& context, Times given, index_t batch, DrawKey key) const {
    if (given.data) return on_device(context, given);
    const auto drawn = context.template tensor<W>(Shape<dynamic>{batch});
    objective_.draw_times(context, drawn, key);
    return drawn;
  }

  /// Copies the losses out of the step's memory, on the device.
  void keep(C& context, View<W, Shape<dynamic>> denoising, View<W, Shape<1>> total) {
    copy(context, dense(numbers() + per_sample, denoising.shape), denoising);
    copy(context, dense(numbers() + weighted_sum, Shape<1>{}), total);
  }

  /// Memory for the losses of so many samples.
  void make_room(index_t batch) {
    const auto bytes = static_cast<std::size_t>(per_sample + batch) * sizeof(W);
    if (bytes <= numbers_.bytes()) return;
    if constexpr (late) replay_.clear();
    numbers_ = Memory(MemorySource::of(workspace_.backend), bytes);
    workspace_.backend.zero(numbers_.data(), bytes);
  }
  /// The only place where a micro-batch waits for the device.
  Losses read_losses(index_t batch) {
    read_.resize(static_cast<std::size_t>(per_sample - reported + batch));
    workspace_.backend.download(read_.data(), numbers() + reported, read_.size() * sizeof(W));
    return losses_of(read_.data(), batch, scheduled_[0], per_sample_);
  }
  W* numbers() const { return reinterpret_cast<W*>(numbers_.data()); }

  bool trained(const ParamInfo& p, std::size_t i) const {
    return p.kind == ParamKind::trained && (frozen_.empty() || !frozen_[i]);
  }

  /// Gradients that nobody wrote are zero, not what the last step left there.
  void zero_unwritten(Detached<B, T>& context) {
    const auto& list = store_.parameters();
    for (std::size_t i = 0; i < list.size(); ++i)
      if (store_.states()[i] != written)
        zero_memory(context, store_.gradient() + list[i].offset, static_cast<std::size_t>(list[i].size) * sizeof(W));
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
  W scheduled_[ScheduledNumbers<W>::most] = {};
  Memory numbers_;  ///< of a micro-batch, on the device: scheduled ones, then what `reported` and so on say
  std::vector<W> read_, per_sample_;  ///< losses as the host read them
  [[no_unique_address]] std::conditional_t<late, Replay<Model, B, W>, NoReplay> replay_;
  Progress progress_{};
};

}  // namespace sra
