// Whole training steps on the device, and the kernels that they are made of.
// SPDX-License-Identifier: MIT
#pragma once

#include "event_times.cuh"

#include <chrono>
#include <cstdint>

namespace bench {

/// A trainer with SRA in bf16, as the library's users build it, and one fixed batch.
template <sra::DiTConfig config>
class Steps {
 public:
  explicit Steps(sra::index_t batch) : trainer_(options(batch)), batch_(batch) {
    const auto images = static_cast<std::size_t>(batch * Model::ImageShape::sample_size());
    for (std::size_t i = 0; i < images; ++i) images_.push_back(numbers_());
    for (sra::index_t i = 0; i < batch; ++i) labels_.push_back(static_cast<std::int32_t>(37 * i % 1000));
    make_nontrivial();
  }

  /// Milliseconds of one update; its losses have come back to the host.
  double step() {
    const auto start = std::chrono::steady_clock::now();
    trainer_.step({dense(std::as_const(images_).data(), typename Model::ImageShape{batch_}),
                   dense(std::as_const(labels_).data(), sra::Shape<sra::dynamic>{batch_})});
    trainer_.backend().wait();
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
  }
  double flops() const { return sra::step_flops(config, static_cast<double>(batch_), Teacher::value, true); }
  double loss() { return trainer_.last().losses.total; }
  sra::Cuda& cuda() { return trainer_.backend(); }
  void observe(sra::LaunchObserver* observer) { trainer_.engine().workspace().observer = observer; }

 private:
  using Model = sra::SiT<config, sra::Classes<1000>>;
  using Student = sra::Layer<sra::default_student_layer(config.depth)>;
  using Teacher = sra::Layer<sra::default_teacher_layer(config.depth)>;
  using Trainer = sra::Trainer<Model, sra::SRALoss<Student, Teacher>, sra::Cuda, sra::bf16>;

  static typename Trainer::Options options(sra::index_t batch) {
    typename Trainer::Options o;
    o.batch = batch;
    o.quiet = true;
    o.backend.algorithms = "algorithms.txt";
    return o;
  }

  /// At the start gates and the last layer are zero, so that most gradients are; zeros take less power.
  void make_nontrivial() {
    for (const sra::ParamInfo& p : trainer_.engine().store().parameters()) {
      if (p.kind != sra::ParamKind::trained) continue;
      const float size = p.name.ends_with("adaLN_modulation.1.bias") ? 0.3f : 0.02f;
      std::vector<float> x = trainer_.parameter_values(p.name);
      for (float& v : x) v += size * numbers_();
      trainer_.set_parameter(p.name, x);
      for (float& v : x) v += 0.1f * size * numbers_();
      trainer_.set_ema(p.name, x);
    }
  }

  Numbers numbers_;
  Trainer trainer_;
  sra::index_t batch_;
  std::vector<float> images_;
  std::vector<std::int32_t> labels_;
};

/// One row `step | model | batch | …` and the table of the kernels.
template <sra::DiTConfig config>
void measure_steps(const char* model, sra::index_t batch, const Ceilings& ceilings) {
  const std::size_t free = sra::arch::device(0).free;
  Steps<config> steps(batch);
  const auto begin = std::chrono::steady_clock::now();
  do steps.step();
  while (std::chrono::steady_clock::now() - begin < std::chrono::seconds(2));  // under load clocks fall
  std::vector<double> ms;
  for (int i = 0; i < 30; ++i) ms.push_back(steps.step());
  const double memory = double(free - sra::arch::device(0).free) / double(1 << 30), time = median(ms);
  EventTimes times(steps.cuda());
  steps.observe(&times);
  for (int i = 0; i < 4; ++i) {
    steps.step();
    times.end_pass(i > 0);
  }
  steps.observe(nullptr);
  const double speed = steps.flops() / time / 1e9;
  std::printf("### %s, batch %d\n\n", model, static_cast<int>(batch));
  std::puts("| model | batch | who | ms | images/s | TFLOP/s | of R | GiB | launches | loss |");
  std::puts("|---|---|---|---|---|---|---|---|---|---|");
  std::printf("| %s | %d | sra | %.2f | %.1f | %.1f | %s | %.1f | %zu | %.4f |\n\n", model, static_cast<int>(batch),
              time, 1e3 * double(batch) / time, speed, percent(speed, ceilings.products).c_str(), memory,
              times.launches(), steps.loss());
  std::fflush(stdout);
  times.print(ceilings);
}

/// Program: `NAME [R W [BATCH...]]`, batches 256 and 64 when none is named.
template <sra::DiTConfig config>
int step_main(const char* model, int argc, char** argv) {
  return run_on_device("gpu_step", [&] {
    const Ceilings ceilings{argument(argc, argv, 1), argument(argc, argv, 2)};
    std::vector<sra::index_t> batches{256, 64};
    if (argc > 3) batches.clear();
    for (int i = 3; i < argc; ++i) batches.push_back(std::atoll(argv[i]));
    for (const sra::index_t batch : batches) measure_steps<config>(model, batch, ceilings);
  });
}

}  // namespace bench
