// Our side of the comparison: a trainer of SiT with SRA, as the library's users build it.
// SPDX-License-Identifier: MIT
#pragma once

#include "subject.hpp"

#include <sra/sra.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace bench {

template <sra::DiTConfig config, class T>
class TrainedSubject : public Subject {
 public:
  explicit TrainedSubject(const SubjectOptions& options)
      : trainer_({.batch = options.batch, .threads = options.threads, .quiet = true}),
        batch_(options.batch, config),
        samples_(options.samples) {
    make_nontrivial();
  }

  double step() override {
    const double start = sra::now_seconds();
    trainer_.step(batch_.template micro_batch<Model>());
    return 1e3 * (sra::now_seconds() - start);
  }

  double sample() override {
    const double start = sra::now_seconds();
    draw(batch_, {});
    return 1e3 * (sra::now_seconds() - start);
  }

  void write(const std::filesystem::path& folder) override {
    sra::SafeTensorsWriter weights, batch;
    const auto& store = trainer_.engine().store();
    for (const sra::ParamInfo& p : store.parameters()) {
      const auto size = static_cast<std::size_t>(p.size);
      weights.add("model." + p.name, p.shape, std::span<const float>(store.master() + p.offset, size));
      weights.add("ema." + p.name, p.shape, std::span<const float>(store.ema(0) + p.offset, size));
    }
    weights.write(folder / "weights.safetensors");
    Inputs inputs(batch_.size, config);
    if (!samples_) inputs.labels[0] = Model::Condition::null_class;
    const std::vector<sra::index_t> image{inputs.size, config.height, config.width, config.channels};
    batch.add("x", image, std::span<const float>(inputs.images));
    batch.add("noise", image, std::span<const float>(inputs.noise));
    batch.add("t", {inputs.size}, std::span<const float>(inputs.times));
    batch.add("t_teacher", {inputs.size}, std::span<const float>(inputs.teacher_times));
    batch.add("labels", {inputs.size}, std::span<const std::int32_t>(inputs.labels));
    batch.write(folder / "batch.safetensors");
  }

  std::vector<double> check(const std::filesystem::path& folder) override {
    trainer_.load_weights(folder / "weights.safetensors");
    const sra::SafeTensors file(folder / "batch.safetensors");
    Inputs inputs;
    inputs.images = file.read<float>("x");
    inputs.noise = file.read<float>("noise");
    inputs.times = file.read<float>("t");
    inputs.teacher_times = file.read<float>("t_teacher");
    inputs.labels = file.read<std::int32_t>("labels");
    inputs.size = static_cast<sra::index_t>(inputs.labels.size());
    return samples_ ? check_samples(inputs) : check_losses(inputs);
  }

  std::string profile(int steps) override {
    step();
    sra::KernelTimes times(trainer_.backend());
    auto& observer = trainer_.engine().workspace().observer;
    observer = &times;
    double ms = 0;
    for (int i = 0; i < steps; ++i) ms += step(), times.end_pass();
    observer = nullptr;
    std::string kernels;
    for (const auto& [key, seconds] : times.samples()) {
      double sum = 0;
      for (const double s : seconds) sum += s;
      kernels += sra::text(kernels.empty() ? "" : ",", "{\"name\":\"", key.name,
                           "\",\"calls\":", double(seconds.size()) / steps, ",\"ms\":", 1e3 * sum / steps,
                           ",\"bytes\":", key.bytes, ",\"flops\":", key.flops, "}");
    }
    return sra::text("{\"ms\":", ms / steps, ",\"kernels\":[", kernels, "]}");
  }

  double step_flops() const override {
    return sra::step_flops(config, static_cast<double>(batch_.size), Teacher::value, true);
  }

 private:
  using Model = sra::SiT<config, sra::Classes<1000>>;
  using Student = sra::Layer<sra::default_student_layer(config.depth)>;
  using Teacher = sra::Layer<sra::default_teacher_layer(config.depth)>;
  using Trainer = sra::Trainer<Model, sra::SRALoss<Student, Teacher>, sra::Cpu, T>;

  /// A batch and all that is drawn for it; nothing in it is special.
  struct Inputs {
    sra::index_t size = 0;
    std::vector<float> images, noise, times, teacher_times;
    std::vector<std::int32_t> labels;

    Inputs() = default;
    Inputs(sra::index_t batch, const sra::DiTConfig& c) : size(batch) {
      std::mt19937 random(1);
      std::normal_distribution<float> normal;
      std::uniform_real_distribution<float> uniform;
      const auto samples = static_cast<std::size_t>(batch),
                 numbers = samples * static_cast<std::size_t>(c.height * c.width * c.channels);
      for (std::size_t i = 0; i < numbers; ++i) {
        images.push_back(normal(random));
        noise.push_back(normal(random));
      }
      for (std::size_t i = 0; i < samples; ++i) {
        times.push_back(uniform(random));
        teacher_times.push_back(std::max(0.0f, times.back() - 0.2f * uniform(random)));
        labels.push_back(static_cast<std::int32_t>(random() % 1000));
      }
    }
    template <class M>
    sra::MicroBatch<M> micro_batch() const {
      return {dense(images.data(), typename M::ImageShape{size}), dense(labels.data(), sra::Shape<sra::dynamic>{size})};
    }
    template <class M, class W>
    sra::Draws<M, W> draws() const {
      const auto times_of = [&](const std::vector<float>& t) {
        return dense(t.data(), sra::Shape<sra::dynamic>{size});
      };
      return {times_of(times), times_of(teacher_times), dense(noise.data(), typename M::ImageShape{size}), true};
    }
  };

  std::vector<double> check_losses(const Inputs& inputs) {
    const auto losses =
        trainer_.losses(inputs.template micro_batch<Model>(), inputs.template draws<Model, typename Trainer::W>());
    double squares = 0;
    for (const sra::ParamInfo& p : trainer_.engine().store().parameters())
      if (p.kind == sra::ParamKind::trained)
        for (const auto g : trainer_.gradient(p.name)) squares += static_cast<double>(g) * static_cast<double>(g);
    return {losses.denoising, losses.alignment, std::sqrt(squares)};
  }

  std::vector<double> check_samples(const Inputs& inputs) {
    const std::vector<double> start(inputs.noise.begin(), inputs.noise.end());
    const auto images = draw(inputs, {.start = dense(start.data(), typename Model::ImageShape{inputs.size})});
    const sra::index_t size = images.shape.size(), one = size / inputs.size;
    double squares = 0, magnitudes = 0, first = 0;
    for (sra::index_t i = 0; i < size; ++i) {
      squares += images.data[i] * images.data[i];
      magnitudes += std::abs(images.data[i]);
      if (i < one) first = squares;
    }
    const auto n = static_cast<double>(size);
    return {std::sqrt(squares / n), magnitudes / n, std::sqrt(first / static_cast<double>(one))};
  }

  auto draw(const Inputs& inputs, const sra::SamplerDraws<Model>& draws) {
    return trainer_.sampler().sample(dense(inputs.labels.data(), sra::Shape<sra::dynamic>{inputs.size}),
                                     {.steps = 50, .guidance = 1.5, .max_batch = inputs.size}, draws);
  }

  /// At the start gates and the last layer are zero, so that most gradients are; and the teacher is the student.
  void make_nontrivial() {
    std::mt19937 random(2);
    std::normal_distribution<float> normal;
    for (const sra::ParamInfo& p : trainer_.engine().store().parameters()) {
      if (p.kind != sra::ParamKind::trained) continue;
      const float size = p.name.ends_with("adaLN_modulation.1.bias") ? 0.3f : 0.02f;
      const auto live = trainer_.parameter(p.name), mean = trainer_.ema(p.name);
      for (std::size_t i = 0; i < live.size(); ++i) {
        live[i] += size * normal(random);
        mean[i] = live[i] + 0.1f * size * normal(random);
      }
    }
  }

  Trainer trainer_;
  Inputs batch_;
  bool samples_;
};

/// @throws sra::Error for a type that the library does not have
template <sra::DiTConfig config>
std::unique_ptr<Subject> make_subject(const SubjectOptions& options) {
  if (options.type == "fp32") return std::make_unique<TrainedSubject<config, float>>(options);
  if (options.type == "bf16") return std::make_unique<TrainedSubject<config, sra::bf16>>(options);
  throw sra::Error("sra_step: --type: expected fp32 or bf16, got " + options.type);
}

}  // namespace bench
