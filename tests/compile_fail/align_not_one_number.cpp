// An alignment that returns a loss for every sample.
// SPDX-License-Identifier: MIT
// expect: Trainer: the alignment must return one number
#include <sra/sra.hpp>

struct PerSample {
  template <class Model>
  using Parameters = sra::NoParameters;
  auto taps() const { return sra::taps(sra::Layer<1>{}); }
  auto operator()(auto& pass, const auto&) const { return sample_mean(square(pass.student(sra::Layer<1>{}))); }
};

using Model = sra::SiT<sra::DiTConfig{.hidden = 64, .depth = 2, .heads = 2}>;

sra::Trainer<Model, PerSample> trainer;
void program(const sra::MicroBatch<Model>& batch) { trainer.step(batch); }
