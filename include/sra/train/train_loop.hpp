// The range behind `for (auto step : trainer.train(data, steps))`, and what a step offers.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/data/prefetch.hpp>
#include <sra/diffusion/sampler.hpp>
#include <sra/io/json_lines.hpp>
#include <sra/train/checkpoint.hpp>
#include <sra/train/engine.hpp>
#include <sra/train/progress_line.hpp>
#include <sra/train/signals.hpp>
#include <sra/train/validation.hpp>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra {

namespace detail {

/// Sums since the last log line.
struct Since {
  index_t steps = 0, updates = 0;  ///< updates: steps that were not skipped
  double start = now_seconds(), denoising = 0, alignment = 0, total = 0;
};

}  // namespace detail

/// The training loop as a range of steps.  Made by Trainer::train.
template <class Trainer, Dataset D>
class TrainLoop {
 public:
  using Model = std::remove_cvref_t<decltype(std::declval<Trainer&>().model())>;
  static_assert(std::is_same_v<typename D::Sample::shape, typename Model::ImageShape>,
                "Trainer::train: the data's images must have the model's height, width and channels");
  static_assert(
      requires { Model::Condition::null_class; } || Model::Condition::count == 0 ||
          condition_size<typename D::Sample> == Model::Condition::count,
      "Trainer::train: the data's condition must be as wide as the model's: condition_size of the sample's type");

  /// One finished update.
  class Step {
   public:
    explicit Step(TrainLoop& loop) : loop_(&loop) {}
    /// Finished updates, 1-based.
    index_t number() const { return loop_->trainer_.step_number(); }
    /// Whether this is every n-th step, or the last; never for n <= 0.
    bool every(index_t n) const { return n > 0 && (number() % n == 0 || number() == loop_->steps_); }
    const auto& report() const { return loop_->trainer_.last(); }
    /// Items of the data that could not be read so far.
    Unreadable unreadable() const { return loop_->source_->unreadable(); }
    /// Writes the run's log and shows progress: means since the last call.
    void log() { loop_->log(); }
    /// Writes a checkpoint.
    void save() {
      loop_->aside([&] { loop_->trainer_.save(); });
    }

    /// The denoising loss on fixed draws, of the averaged and of the live weights; writes the log and shows it.  Without a data
    /// set of its own it takes the run's: of an endless source pictures that are never trained on, of a finite one
    /// pictures that are.
    template <Dataset Held>
    Validation validate(const Held& data, const ValidationOptions& options = {}) {
      return loop_->validate(data, options);
    }
    Validation validate(const ValidationOptions& options = {}) { return loop_->validate(loop_->data_, options); }

    /// Draws a grid from the averaged weights into the run's folder: samples/step-000001000.png.  Without a folder: nothing.
    void sample(const SamplerOptions& options = {}) {
      Trainer& t = loop_->trainer_;
      const std::string name = "step-" + step_digits(number()) + ".png";
      if (!t.options().run.empty()) loop_->aside([&] { t.sample_grid(t.folder() / "samples" / name, options); });
    }

   private:
    TrainLoop* loop_;
  };

  struct End {};
  /// Runs a step for every increment.
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = Step;
    using difference_type = std::ptrdiff_t;
    explicit Iterator(TrainLoop& loop) : loop_(&loop) {}
    Step operator*() const { return Step(*loop_); }
    Iterator& operator++() {
      loop_->advance();
      return *this;
    }
    void operator++(int) { ++*this; }
    bool operator==(End) const { return loop_->done_; }

   private:
    TrainLoop* loop_;
  };

  TrainLoop(Trainer& trainer, const D& data, index_t steps)
      : trainer_(trainer),
        data_(data),
        steps_(steps),
        micro_(trainer.options().batch / trainer.options().accumulate),
        source_(std::make_unique<Prefetcher<D>>(
            data,
            PrefetchOptions{.seed = trainer.options().seed, .batch = micro_, .threads = trainer.options().readers})) {
    index_t items = 0;
    if constexpr (Finite<D>) items = static_cast<index_t>(data.size());
    trainer_.set_length(steps, items);
    if constexpr (requires { Model::Condition::null_class; })
      if (const auto classes = class_count(data); classes && *classes > Model::Condition::count)
        throw Error(
            text("Trainer::train: expected data of at most ", Model::Condition::count, " classes, got ", *classes));
  }

  TrainLoop(const TrainLoop&) = delete;
  TrainLoop& operator=(const TrainLoop&) = delete;
  /// However the loop ended: other batch sizes may be used again.
  ~TrainLoop() { trainer_.engine().workspace().thaw(); }

  /// Runs the first step.
  Iterator begin() {
    signals_ = std::make_unique<SignalGuard>();
    trainer_.settle();
    counted_ = trainer_.late_reports().known;
    trainer_.engine().reserve(trainer_.engine().plan(micro_));
    first_ = trainer_.step_number();
    if (first_ > 0 && !trainer_.options().quiet)
      std::fprintf(stderr, "goes on after step %lld of %lld\n", static_cast<long long>(first_),
                   static_cast<long long>(steps_));
    advance();
    return Iterator(*this);
  }
  End end() const { return {}; }

 private:
  void advance() {
    const bool asked = signals_->asked();
    if (trainer_.step_number() >= steps_ || asked) {
      trainer_.settle();
      done_ = true;
      trainer_.set_stopped(trainer_.step_number() < steps_);
      if (trainer_.step_number() != trainer_.saved_step()) trainer_.save();
      progress_.finish();
      if (asked && !trainer_.options().quiet)
        std::fprintf(stderr, "stopped by a signal after step %lld\n", static_cast<long long>(trainer_.step_number()));
      signals_.reset();
      return;
    }
    const auto first = trainer_.step_number() * trainer_.options().accumulate;
    const auto source = [&](index_t k) { return micro_batch<Model>(source_->get(first + k)); };
    if constexpr (Trainer::late) {
      trainer_.start_step(source);
      count_known();
    } else {
      count(trainer_.accumulated_step(source));
    }
    if (trainer_.step_number() - first_ == 2) {
      trainer_.engine().workspace().freeze();
      if constexpr (requires { trainer_.backend().level_scratch(); }) trainer_.backend().level_scratch();
    }
  }
  template <class Report>
  void count(const Report& report) {
    ++since_.steps;
    if (report.skipped) return;  // its losses may not be finite
    ++since_.updates;
    since_.denoising += report.losses.denoising;
    since_.alignment += report.losses.alignment;
    since_.total += report.losses.total;
  }
  /// Counts the steps whose reports have come since the last call.
  void count_known() {
    const LateReports& late = trainer_.late_reports();
    for (; counted_ < late.known; ++counted_) count(late.of[counted_ % 2]);
  }

  void log() {
    const auto& r = trainer_.last();
    if constexpr (Trainer::late) count_known();
    const index_t step = trainer_.step_number();
    const double n = static_cast<double>(since_.updates);  // no update: no mean, NaN
    const double per_step = (now_seconds() - since_.start) / static_cast<double>(std::max<index_t>(1, since_.steps));
    const double rate = static_cast<double>(trainer_.options().batch) / per_step;
    const Unreadable unreadable = source_->unreadable();
    if (JsonLines* file = trainer_.log_file())
      file->write({{"step", step},
                   {"epoch", trainer_.progress().epoch},
                   {"denoising", since_.denoising / n},
                   {"alignment", since_.alignment / n},
                   {"weight", r.losses.weight},
                   {"total", since_.total / n},
                   {"gradient_norm", r.gradient_norm},
                   {"lr", r.lr},
                   {"skipped", trainer_.skipped()},
                   {"unreadable", static_cast<index_t>(unreadable.count)},
                   {"seconds_per_step", per_step},
                   {"images_per_second", rate}});
    if (!trainer_.options().quiet) {
      for (; named_ < unreadable.names.size(); ++named_)
        std::fprintf(stderr, "skipped: %s\n", unreadable.names[named_].c_str());
      char line[200];
      std::snprintf(line, sizeof line,
                    "step %lld/%lld  loss %.4f  denoising %.4f  alignment %.4f  |g| %.3f  %.1f img/s  eta %s",
                    static_cast<long long>(step), static_cast<long long>(steps_), since_.total / n,
                    since_.denoising / n, since_.alignment / n, r.gradient_norm, rate,
                    clock_text(per_step * static_cast<double>(steps_ - step)).c_str());
      progress_.show(line);
    }
    since_ = {};
  }

  template <Dataset Held>
  Validation validate(const Held& data, const ValidationOptions& options) {
    Validation v;
    aside([&] { v = trainer_.validate(data, options); });
    const Estimate averaged = v.averaged_loss(), live = v.live_loss();
    const index_t step = trainer_.step_number();
    if (JsonLines* file = trainer_.log_file())
      file->write({{"step", step},
                   {"validation", averaged.mean},
                   {"validation_error", averaged.standard_error},
                   {"validation_live", live.mean},
                   {"validation_samples", static_cast<index_t>(v.averaged.size())}});
    if (!trainer_.options().quiet) {
      char line[160];
      std::snprintf(line, sizeof line,
                    "step %lld/%lld  validation: denoising %.4f +- %.4f averaged, %.4f live, %zu samples",
                    static_cast<long long>(step), static_cast<long long>(steps_), averaged.mean,
                    averaged.standard_error, live.mean, v.averaged.size());
      progress_.show(line);
    }
    return v;
  }

  /// Does what is not part of the steps' time.
  template <class F>
  void aside(F f) {
    trainer_.settle();
    const double start = now_seconds();
    f();
    since_.start += now_seconds() - start;
  }

  Trainer& trainer_;
  const D& data_;
  index_t steps_, micro_, first_ = 0, counted_ = 0;
  std::unique_ptr<Prefetcher<D>> source_;
  std::unique_ptr<SignalGuard> signals_;
  detail::Since since_{};
  ProgressLine progress_;
  std::size_t named_ = 0;  // unreadable items that were named
  bool done_ = false;
};

}  // namespace sra
