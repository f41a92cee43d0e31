// A run of the demo: the trainer, its loop held open, and what is asked of its weights.
// SPDX-License-Identifier: MIT
#pragma once

#include "run.hpp"

#include <algorithm>
#include <optional>

namespace demo {

template <class Alignment>
class Training final : public Run {
  using Trainer = sra::Trainer<Model, Alignment>;
  using Loop = sra::TrainLoop<Trainer, Data>;

 public:
  Training(const Settings& s, const std::string& name)
      : settings_(s),
        trainer_({.run = (s.folder / name).string(),
                  .batch = s.batch,
                  .seed = s.seed,
                  .lr = sra::warmup_cosine(8e-3, std::min<index_t>(100, s.steps)),
                  .adamw = {.beta2 = 0.95},
                  .ema = {0.995},
                  .align = alignment(),
                  .objective = {.time = sra::TimeDistribution::lognormal},
                  .threads = threads_of(s),
                  .quiet = true}),
        loop_(new Loop(trainer_.train(data, s.steps))) {}

  bool train_to(index_t step) override {
    const double start = sra::now_seconds();
    while (!trainer_.stopped() && trainer_.step_number() < step) {
      if (at_)
        ++*at_;
      else
        at_.emplace(loop_->begin());  // runs the first step
      if (*at_ == loop_->end()) break;
      count((**at_).report().losses);
      if ((**at_).every(50)) (**at_).log();
    }
    if (at_ && trainer_.step_number() == settings_.steps && *at_ != loop_->end()) ++*at_;  // ends the loop
    seconds_ += sra::now_seconds() - start;
    return trainer_.step_number() >= step;
  }

  void save() override {
    trainer_.save();
    const auto name = "step-" + sra::step_digits(trainer_.step_number()) + ".png";
    trainer_.sample_grid(trainer_.folder() / "samples" / name, sampler(1), 1);
  }

  sra::Losses losses() override {
    sra::Losses mean = sum_;
    mean.denoising /= static_cast<double>(counted_);
    mean.alignment /= static_cast<double>(counted_);
    sum_ = {}, counted_ = 0;
    return mean;
  }
  double seconds() const override { return seconds_; }

  std::vector<double> validate(index_t samples) override {
    if (!at_) return trainer_.validate(data, {.samples = samples}).averaged;
    return (**at_).validate({.samples = samples}).averaged;  // which also writes the log
  }

  Pictures sample(std::span<const std::int32_t> labels, std::uint64_t seed) override {
    Pictures p{{}, {labels.begin(), labels.end()}};
    const auto images = trainer_.sampler().sample(p.classes(), sampler(seed));
    p.values.assign(images.data, images.data + images.shape.size());
    for (float& x : p.values) x = std::clamp(x, -1.0f, 1.0f);
    return p;
  }

  std::vector<std::vector<float>> features(const Pictures& pictures, Looked looked,
                                           std::span<const int> blocks) override {
    auto& store = trainer_.engine().store();
    sra::Embedder embedder(trainer_.backend(), trainer_.model(), looked.averaged ? store.averaged() : store.live());
    std::vector<std::vector<float>> all;
    for (const auto& f : embedder.embed(pictures.images(), std::span(&looked.time, 1), {}, blocks))
      all.emplace_back(f.data, f.data + f.shape.size());
    return all;
  }

  std::vector<float> through_head(const std::vector<float>& features) override {
    auto& store = trainer_.engine().store();
    if constexpr (requires { store.module().extra.head; }) {
      sra::Workspace<sra::Cpu> workspace(trainer_.backend());
      sra::Detached<sra::Cpu, float> context(workspace, store.live());
      const Model::TokenShape shape{std::ssize(features) / Model::TokenShape::sample_size()};
      const auto x = sra::make_dense<float>(context, shape);  // [N, T, D]
      copy(context, x.value, sra::dense(features.data(), shape));
      const auto y = sra::make_dense<float>(context, shape);  // [N, T, D]
      copy(context, y.value, store.module().extra.head(x).value);
      return {y.value.data, y.value.data + shape.size()};
    } else {
      return features;
    }
  }

  std::vector<float> noised(const Pictures& pictures, double time) override {
    sra::Embedder embedder(trainer_.backend(), trainer_.model(), trainer_.engine().store().averaged());
    std::vector<float> to(pictures.values.size());
    embedder.noised(pictures.images(), std::span(&time, 1), sra::dense(to.data(), Model::ImageShape{pictures.count()}));
    return to;
  }

  void profile(index_t steps) override { trainer_.profile(data, steps).write(trainer_.folder() / "profile.jsonl"); }
  sra::MemoryPlan memory_plan() override { return trainer_.memory_plan(); }
  std::string machine() override {
    sra::Cpu& cpu = trainer_.backend();
    return sra::text(to_string(cpu.isa()), ", ", cpu.threads().size(),
                     cpu.threads().size() == 1 ? " thread" : " threads");
  }

 private:
  /// With a weight that falls to zero over the run.
  static Alignment alignment() {
    Alignment align;
    if constexpr (requires { align.weight; }) align.weight = sra::warmup_cosine(alignment_weight, 0);
    return align;
  }
  /// Both runs train at the same time, on half of the cores each.
  static int threads_of(const Settings& s) {
    return std::max(1, (s.threads > 0 ? s.threads : sra::Threads().size()) / 2);
  }
  sra::SamplerOptions sampler(std::uint64_t seed) const {
    return {.steps = settings_.sampler_steps, .guidance = settings_.guidance, .seed = seed};
  }
  void count(const sra::Losses& l) {
    sum_.denoising += l.denoising;
    sum_.alignment += l.alignment;
    sum_.weight = l.weight;
    ++counted_;
  }

  Settings settings_;
  Trainer trainer_;
  std::unique_ptr<Loop> loop_;
  std::optional<typename Loop::Iterator> at_;
  sra::Losses sum_{};
  index_t counted_ = 0;
  double seconds_ = 0;
};

}  // namespace demo
