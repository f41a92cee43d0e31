// A whole training step of the CUDA backend that only counts: launches by name, cost and part of the step.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/kernels.cuh>
#include <sra/sra.hpp>

#include <string>
#include <vector>

namespace counting {

using sra::index_t;
using sra::arch::counting::Started;

/// Parts of a step.
enum class Part { student, teacher, head, backward, update };

/// One call of launch().
struct Launch {
  Part part;
  std::string name;
  sra::Cost cost;
  Started started{};  ///< kernels and so on that it started
};

/// What a step launched, in order.
class Launches : public sra::LaunchObserver {
 public:
  explicit Launches(sra::arch::Stream stream) : stream_(stream) {}

  void before(const char* kernel, const sra::Cost& cost) override {
    all_.push_back({part, kernel, cost, {}});
    before_ = stream_->now;
  }
  void after(const char*) override {
    Started s = stream_->now;
    s -= before_;
    all_.back().started = s;
  }
  const std::vector<Launch>& all() const { return all_; }

  Part part = Part::student;

 private:
  sra::arch::Stream stream_;
  Started before_{};
  std::vector<Launch> all_;
};

/// A pass that notes where the teacher begins and ends.
template <class P>
struct WatchedPass {
  using context_type = typename P::context_type;

  P& pass;
  Launches* launches;

  auto teacher(auto layer, auto time) const {
    const auto enter = [&](Part part) {
      if (launches) launches->part = part;
    };
    enter(Part::teacher);
    const auto features = pass.teacher(layer, time);  // [B, T, D]
    enter(Part::head);
    return features;
  }
  auto student(auto layer) const { return pass.student(layer); }
  auto weighted(const sra::Schedule& schedule, auto loss) const { return pass.weighted(schedule, loss); }
};

/// SRALoss of the published layers, watched.
template <sra::DiTConfig config>
struct Watched : sra::SRALoss<sra::Layer<sra::default_student_layer(config.depth)>,
                              sra::Layer<sra::default_teacher_layer(config.depth)>> {
  using Base = sra::SRALoss<sra::Layer<sra::default_student_layer(config.depth)>,
                            sra::Layer<sra::default_teacher_layer(config.depth)>>;
  Launches* launches = nullptr;  ///< null: nobody watches

  template <class P, class Parameters>
  auto operator()(P& pass, const Parameters& parameters) const {
    WatchedPass<P> watched{pass, launches};
    const auto loss = Base::operator()(watched, parameters);  // [1]
    mark(pass.context(), [to = launches](auto&) {
      if (to) to->part = Part::backward;
    });
    return loss;
  }
};

/// One step with SRA in bf16, without accumulation, and what it plans to take.
struct CountedStep {
  sra::DiTConfig config;
  index_t batch = 0, parameters = 0;
  std::vector<Launch> launches{};
  sra::MemoryPlan memory{};
  Started
      replayed{};  ///< all that the device is told in a step that is replayed, copies of inputs and results included

  Started started() const {
    Started sum;
    for (const Launch& l : launches) sum += l.started;
    return sum;
  }
  sra::Cost cost() const {
    sra::Cost sum;
    for (const Launch& l : launches) sum.bytes += l.cost.bytes, sum.flops += l.cost.flops;
    return sum;
  }
};

template <sra::DiTConfig config>
CountedStep count_step(index_t batch) {
  using Model = sra::SiT<config, sra::Classes<1000>>;
  using Engine = sra::Engine<Model, Watched<config>, sra::FlowMatching<>, sra::Cuda, sra::bf16>;
  sra::Cuda cuda({.candidates = 1});
  Launches launches(cuda.stream());
  Watched<config> align;
  align.launches = &launches;
  Engine engine(cuda, align, {}, 1);
  CountedStep step{.config = config, .batch = batch, .parameters = engine.store().size(), .memory = engine.plan(batch)};
  engine.store().allocate();
  engine.reserve(step.memory);

  const std::vector<float> images(static_cast<std::size_t>(batch * Model::ImageShape::sample_size()));
  const std::vector<std::int32_t> labels(static_cast<std::size_t>(batch));
  const sra::MicroBatch<Model> micro{dense(images.data(), typename Model::ImageShape{batch}),
                                     dense(labels.data(), sra::Shape<sra::dynamic>{batch})};
  const sra::UpdateSettings settings;
  for (int i = 0; i < 2; ++i) {  // the first rounds weights and plans products
    if (i == 1) engine.workspace().observer = &launches;
    launches.part = Part::student;
    engine.begin({i, 10, 0});
    engine.run(micro, {0, i, 0}, {}, 0.1f, 1);
    launches.part = Part::update;
    engine.update(i, settings);
  }
  engine.workspace().observer = nullptr;
  step.launches = launches.all();

  engine.workspace().freeze();
  for (int i = 2; i < 4; ++i) {  // the first captures, the second replays
    sra::Losses losses;
    sra::UpdateReport report;
    const Started before = cuda.stream()->now;
    engine.begin({i, 10, 0});
    engine.start(micro, {0, i, 0}, 0.1f, 1, losses);
    engine.deliver(engine.start_update(i, settings, report));
    step.replayed = cuda.stream()->now;
    step.replayed -= before;
  }
  return step;
}

}  // namespace counting
