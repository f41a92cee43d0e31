// The trainer: the loop, the run's folder, resume, signals, logs.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/data/prefetch.hpp>
#include <sra/diffusion/sampler.hpp>
#include <sra/io/json_lines.hpp>
#include <sra/models/dit.hpp>
#include <sra/train/checkpoint.hpp>
#include <sra/train/engine.hpp>
#include <sra/train/options.hpp>
#include <sra/train/progress_line.hpp>
#include <sra/train/run_log.hpp>
#include <sra/train/sample_grid.hpp>
#include <sra/train/signals.hpp>
#include <sra/train/train_loop.hpp>
#include <sra/train/validation.hpp>
#include <sra/train/weights.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sra {

namespace backend {
class Cpu;
}

/// Trains a model with an alignment.  Owns backend, parameters, optimizer, averages and the run's folder.
///
///     sra::Trainer<Model, Align> trainer{{.run = "runs/a", .batch = 64}};     // resumes if the run exists
///     for (auto step : trainer.train(data, 10'000)) {                         // SIGINT and SIGTERM save, then end the loop
///       if (step.every(100)) step.log();
///       if (step.every(1'000)) step.validate();
///     }
///
/// Resuming compares sizes, condition, objective, alignment, batch, seed, optimizer, averages and the number of items with the
/// run's.  Learning rate, weight schedule, number of steps and instruction set may change, and float become bf16 or bf16 float,
/// whose checkpoints are the same; the run is then another one.
/// @tparam Model a SiT  @tparam Align an SRALoss, NoAlignment or one of yours  @tparam B the backend
/// @tparam T type of tokens and of weights in products: float, bf16, or double for checks
/// @tparam Objective FlowMatching<LinearPath> or FlowMatching<CosinePath>
template <class Model, class Align = NoAlignment, Backend B = backend::Cpu, class T = float,
          class Objective = FlowMatching<>>
class Trainer {
 public:
  using Options = TrainerOptions<Align, Objective, B>;
  using Core = Engine<Model, Align, Objective, B, T>;
  using W = typename Core::W;
  /// Whether training goes on before the host knows a step's losses and gradient norm: on backends that replay steps.  Then
  /// StepReport is read back when it is asked for, or while the next step runs; skipped() may be late by one step, and so may the
  /// error of options().max_skipped.
  static constexpr bool late = Core::late;

  /// @throws Error for settings out of range, a run of another configuration, or a damaged checkpoint
  explicit Trainer(Options options = {})
      : options_(accepted(std::move(options))),
        backend_(backend_options(options_)),
        engine_(backend_, options_.align, options_.objective, static_cast<int>(options_.ema.size())) {
    update_settings_ = {0, options_.adamw, options_.clip, options_.ema, options_.ema_warmup};
    freeze_parameters();
    if constexpr (trains)
      if (!options_.quiet) std::fprintf(stderr, "%s\n", memory_plan().text().c_str());
    engine_.store().allocate();
    engine_.store().initialise(options_.seed);
    run_.settings = settings_of<Model, W>(options_);
    if (!options_.run.empty()) open_run();
  }

  /// What training takes; said before any of it is allocated, unless quiet.  Prefetched batches and the kernels' workspace,
  /// some MiB, come on top.  Not within a step.
  MemoryPlan memory_plan() { return engine_.plan(options_.batch / options_.accumulate); }

  B& backend() { return backend_; }
  Core& engine() { return engine_; }
  const Core& engine() const { return engine_; }
  const Options& options() const { return options_; }
  const Model& model() const { return engine_.store().module().model; }
  /// Finished updates.
  index_t step_number() const { return run_.step; }
  /// Updates that were skipped because of a non-finite gradient.
  index_t skipped() const { return run_.skipped; }
  /// The report of the last update; waits for it where late.
  const StepReport& last() const requires(!late) { return last_; }
  const StepReport& last() requires(late) {
    settle();
    return last_;
  }
  /// Whether a signal ended the last loop before its last step.
  bool stopped() const { return stopped_; }
  void set_stopped(bool stopped) { stopped_ = stopped; }

  /// The values, the average (of decay number i) and the gradient of a parameter, on backends whose memory is the host's; for
  /// all backends there are parameter_values() and so on.  @throws Error for an unknown name
  /// What is written there counts from the next step, validation or call of sampler() on; ask again after it.  Being asked
  /// for a place to write costs a pass over all weights in bf16; a const trainer gives what may only be read.
  std::span<W> parameter(std::string_view name) {
    engine_.store().invalidate();
    return part(engine_.store().master(), name);
  }
  std::span<const W> parameter(std::string_view name) const { return part(engine_.store().master(), name); }
  std::span<W> ema(std::string_view name, int i = 0) {
    engine_.store().invalidate();
    return part(engine_.store().ema(i), name);
  }
  std::span<const W> ema(std::string_view name, int i = 0) const { return part(engine_.store().ema(i), name); }
  std::span<const W> gradient(std::string_view name) const { return part(engine_.store().gradient(), name); }

  /// Copies of them.
  std::vector<W> parameter_values(std::string_view name) const { return values(engine_.store().master(), name); }
  std::vector<W> ema_values(std::string_view name, int i = 0) const { return values(engine_.store().ema(i), name); }
  std::vector<W> gradient_values(std::string_view name) const { return values(engine_.store().gradient(), name); }
  /// Replaces all numbers of a parameter, or of its average.  @throws Error for an unknown name or another number of them
  void set_parameter(std::string_view name, std::span<const W> values) { set(engine_.store().master(), name, values); }
  void set_ema(std::string_view name, std::span<const W> values, int i = 0) {
    set(engine_.store().ema(i), name, values);
  }

  /// Losses and gradients of one batch; no update.  @param batch of any size  @param draws what is empty is drawn
  Losses losses(const MicroBatch<Model>& batch, const Draws<Model, W>& draws = {}) {
    settle();
    check_batch(batch, run_.step, 0, draws.condition_is_dropped);
    engine_.begin(progress());
    return engine_.run(batch, {options_.seed, run_.step, 0}, draws, options_.condition_dropout, 1.0);
  }

  /// One update from one batch, for loops of one's own.
  StepReport step(const MicroBatch<Model>& batch, const Draws<Model, W>& draws = {}) {
    settle();
    last_ = {};
    last_.losses = losses(batch, draws);
    return finish_update();
  }

  /// Micro-batches of one update: calls batch(k) for k in [0, accumulate), each of batch / accumulate samples.
  template <class Source>
    requires(!late)
  StepReport accumulated_step(Source&& batch) {
    last_ = {};
    engine_.begin(progress());
    const double share = 1.0 / static_cast<double>(options_.accumulate);
    const index_t size = options_.batch / options_.accumulate;
    for (index_t k = 0; k < options_.accumulate; ++k) {
      const MicroBatch<Model> micro = batch(k);
      check_micro_batch(micro, k);
      const Losses l = engine_.run(micro, {options_.seed, run_.step, k * size}, {}, options_.condition_dropout, share);
      last_.losses.denoising += share * l.denoising;
      last_.losses.alignment += share * l.alignment;
      last_.losses.total += share * l.total;
      last_.losses.weight = l.weight;
    }
    return finish_update();
  }

  template <class Source>
    requires(late)
  StepReport accumulated_step(Source&& batch) {
    start_step(batch);
    return last();
  }

  /// The same without waiting for its report.  At the latest the next call knows it.
  template <class Source>
    requires(late)
  void start_step(Source&& batch) {
    if (in_a_row_ > 0) settle();  // while something is wrong, every step is waited for
    StepReport& report = late_.begin();
    try {
      engine_.begin(progress());
      const double share = 1.0 / static_cast<double>(options_.accumulate);
      const index_t size = options_.batch / options_.accumulate;
      for (index_t k = 0; k < options_.accumulate; ++k) {
        const MicroBatch<Model> micro = batch(k);
        check_micro_batch(micro, k);
        engine_.start(micro, {options_.seed, run_.step, k * size}, options_.condition_dropout, share, report.losses);
      }
      settle();  // how many updates there were: the device works on this step meanwhile
      update_settings_.lr = report.lr = checked_lr();
      late_.ticket = engine_.start_update(run_.step - run_.skipped, update_settings_, late_.update);
    } catch (...) {
      engine_.forget(late_.ticket);
      throw;
    }
    ++run_.step;
    ++late_.started;
  }
  /// Waits until all reports are known.
  void settle() {
    if constexpr (late) {
      if (late_.known == late_.started) return;
      engine_.deliver(late_.ticket);
      last_ = late_.finish();
      count(late_.update);
    }
  }
  const LateReports& late_reports() const { return late_; }

  /// The loop: goes on at the step where the run is and ends after `steps` updates or at a signal.  Saves at the end.
  /// @param data must outlive the loop; its images must have the model's height, width and channels
  template <Dataset D>
  TrainLoop<Trainer, D> train(const D& data, index_t steps) {
    return TrainLoop<Trainer, D>(*this, data, steps);
  }
  template <Dataset D>
  TrainLoop<Trainer, D> train(const D&&, index_t) = delete;

  /// Writes a checkpoint now and removes those beyond `keep`.  Without a run's folder: nothing.
  void save() {
    settle();
    if (options_.run.empty()) return;
    save_checkpoint(folder() / "checkpoints" / checkpoint_name(run_.step), engine_.store(), run_);
    saved_step_ = run_.step;
    auto all = checkpoints_in(folder() / "checkpoints");
    for (std::size_t i = 0; options_.keep > 0 && i + static_cast<std::size_t>(options_.keep) < all.size(); ++i)
      if (std::error_code code; !std::filesystem::remove(all[i], code) && code)
        throw Error(text("Trainer: ", all[i].string(), ": cannot remove an old checkpoint: ", code.message()));
  }
  /// The step of the newest checkpoint of this process, or of the one it resumed; -1 if there is none.
  index_t saved_step() const { return saved_step_; }

  /// Replaces weights by those of a file with the keys model.* and ema.*, or the bare keys of a state dict; without ema.*
  /// the averages become the weights.
  /// @throws Error naming every missing, misshapen and unexpected tensor, before anything is changed
  void load_weights(const std::filesystem::path& path) { read_weights(backend_, path, engine_.store()); }

  /// Draws images by the averaged weights.  @return a sampler that lives as long as the trainer, see Sampler
  auto& sampler() {
    const auto weights = engine_.store().averaged();
    if (!sampler_) sampler_.emplace(backend_, model(), weights);
    return *sampler_;
  }

  /// Draws images by the averaged weights and writes them as a grid, one column per class (at most ten); models with
  /// another condition get the null condition.  Shows the first three channels, values in [-1, 1].
  /// @param options of the sampler; its seed and first_sample make the noise  @param rows of the grid
  void sample_grid(const std::filesystem::path& path, const SamplerOptions& options = {}, index_t rows = 6,
                   int scale = 2) {
    write_samples<Model, B, Instantiated<Model, B, T, Objective>>(path, sampler(), options, rows, scale);
  }

  /// The denoising loss of samples on fixed draws, with the averaged and with the live weights.
  /// @param data of the model's size: a held-out part, or an endless source, whose pictures are then none of training's
  /// @throws Error for fewer than one sample, or a sample that cannot be read
  template <Dataset D>
  Validation validate(const D& data, ValidationOptions options = {}) {
    if constexpr (Finite<D>) options.samples = std::min(options.samples, static_cast<index_t>(data.size()));
    if (options.samples < 1) throw Error(text("Trainer: validate: expected at least 1 sample, got ", options.samples));
    if (!validator_) validator_.emplace(backend_, model(), engine_.objective());
    const index_t chunk = std::min(options.samples, options_.batch / options_.accumulate);
    std::optional<Batch<typename D::Sample>> batch;
    Validation v;
    for (index_t first = 0; first < options.samples; first += chunk) {
      const index_t n = std::min(chunk, options.samples - first);
      if (!batch || batch->size() != n) batch.emplace(n);
      detail::read_held_out(data, options, first, *batch);
      const MicroBatch<Model> micro = micro_batch<Model>(*batch);
      check_batch(micro, run_.step, first, false);
      const DrawKey key{Rng(options.seed, Purpose::validation, 0, 0).bits64(0), 0, first};
      validator_->losses(micro, engine_.store().averaged(), key, v.averaged);
      validator_->losses(micro, engine_.store().live(), key, v.live);
    }
    return v;
  }

  std::filesystem::path folder() const { return options_.run; }
  /// The run's log, or nullptr.
  JsonLines* log_file() { return log_ ? &*log_ : nullptr; }
  /// Where the run is, for schedules.
  Progress progress() const {
    return {run_.step, total_steps_, run_.items > 0 ? run_.step * options_.batch / run_.items : 0};
  }
  /// What schedules may know of the run: its length and the data's; 0 if endless.
  /// @throws Error if the run has begun with another number of items: their order would be another
  void set_length(index_t steps, index_t items) {
    if (run_.items > 0 && run_.step > 0 && items != run_.items)
      throw Error(
          text("Trainer: cannot go on with other data: the run began with ", run_.items, " items, got ", items));
    total_steps_ = steps;
    run_.items = items;
  }

 private:
  /// Whether the model can be trained; models with learn_sigma can only be sampled from.
  static constexpr bool trains = [] {
    if constexpr (requires { Model::config.learn_sigma; })
      return !Model::config.learn_sigma;
    else
      return true;
  }();

  static Options accepted(Options options) {
    Options o = checked_options(std::move(options));
    if (const auto all = checkpoints_of(o);
        !all.empty()) {  // a run that does not fit is refused before anything is allocated
      typename Core::Module module{};
      place(module);
      open_checkpoint<W>(all.back(), parameters_of(module), static_cast<int>(o.ema.size()), settings_of<Model, W>(o));
    }
    return o;
  }

  static std::vector<std::filesystem::path> checkpoints_of(const Options& o) {
    if (o.run.empty()) return {};
    return checkpoints_in(std::filesystem::path(o.run) / "checkpoints");
  }

  void freeze_parameters() {
    if (!options_.frozen.empty()) engine_.freeze(matching(options_.frozen, engine_.store().parameters()));
  }

  void check_micro_batch(const MicroBatch<Model>& micro, index_t k) const {
    const index_t size = options_.batch / options_.accumulate;
    if (micro.images.shape.batch != size)
      throw Error(text("Trainer: expected a micro-batch of ", size, " samples, got ", micro.images.shape.batch));
    check_batch(micro, run_.step, k * size, false);
  }
  double checked_lr() const {
    const double lr = options_.lr(progress());
    if (!(lr >= 0 && std::isfinite(lr)))
      throw Error(text("Trainer: step ", run_.step + 1, ": expected a learning rate >= 0, got ", lr));
    return lr;
  }

  StepReport finish_update() {
    update_settings_.lr = last_.lr = checked_lr();
    const UpdateReport report = engine_.update(run_.step - run_.skipped, update_settings_);
    ++run_.step;
    count(report);
    return last_;
  }
  /// Adds an update's report to that of its step, the last known one.
  void count(const UpdateReport& report) {
    last_.gradient_norm = report.gradient_norm;
    last_.skipped = report.skipped;
    in_a_row_ = report.skipped ? in_a_row_ + 1 : 0;
    run_.skipped += report.skipped;
    if (in_a_row_ > 0 && in_a_row_ >= options_.max_skipped)
      throw Error(text("Trainer: step ", run_.step, ": expected finite gradients, got ", in_a_row_,
                       " steps in a row without; the first such parameter is ", engine_.first_not_finite()));
  }

  void open_run() {
    namespace fs = std::filesystem;
    std::error_code code;
    for (const char* part : {"checkpoints", "samples"})
      if (!code) fs::create_directories(folder() / part, code);
    if (code) throw Error(text("Trainer: run ", options_.run, ": cannot make the folder: ", code.message()));
    for (const char* part : {"", "checkpoints", "samples"})
      remove_abandoned(folder() / part);  // of a process that was killed
    if (const auto all = checkpoints_of(options_); !all.empty()) {
      run_ = load_checkpoint(all.back(), engine_.store(), run_.settings);
      saved_step_ = run_.step;
    }
    cut_log(folder() / "log.jsonl", run_.step);
    log_.emplace(folder() / "log.jsonl");
  }

  std::span<W> part(W* buffer, std::string_view name) const {
    static_assert(B::is_host,
                  "Trainer: parameter(), ema() and gradient() are views of the host's memory; other backends have "
                  "parameter_values(), ema_values(), gradient_values(), set_parameter() and set_ema()");
    const ParamInfo& p = engine_.store().find(name);
    return {buffer + p.offset, static_cast<std::size_t>(p.size)};
  }
  std::vector<W> values(const W* buffer, std::string_view name) const {
    return engine_.store().values_of(buffer, engine_.store().find(name));
  }
  void set(W* buffer, std::string_view name, std::span<const W> values) {
    const ParamInfo& p = engine_.store().find(name);
    if (std::cmp_not_equal(values.size(), p.size))
      throw Error(text("Trainer: ", name, ": expected ", p.size, " numbers, got ", values.size()));
    engine_.store().invalidate();
    backend_.upload(buffer + p.offset, values.data(), values.size_bytes());
  }

  Options options_;
  B backend_;
  Core engine_;
  UpdateSettings update_settings_;
  RunState run_;
  StepReport last_;
  std::optional<JsonLines> log_;
  std::optional<Sampler<Model, B, T, typename Objective::path>> sampler_;
  std::optional<Validator<Model, Objective, B, T>> validator_;
  index_t total_steps_ = 0, saved_step_ = -1;
  int in_a_row_ = 0;
  LateReports late_;
  bool stopped_ = false;
};

}  // namespace sra
