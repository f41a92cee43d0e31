// An alignment of a user's compiles when it returns one number.
// SPDX-License-Identifier: MIT
// expect-ok
#include <sra/sra.hpp>

struct OneNumber {
  template <class Model>
  using Parameters = sra::NoParameters;
  auto taps() const { return sra::taps(sra::Layer<1>{}); }
  auto operator()(auto& pass, const auto&) const { return mean(square(pass.student(sra::Layer<1>{}))); }
};

using Model = sra::SiT<sra::DiTConfig{.hidden = 64, .depth = 2, .heads = 2}>;

sra::Trainer<Model, OneNumber> trainer;
void program(const sra::MicroBatch<Model>& batch) { trainer.step(batch); }
