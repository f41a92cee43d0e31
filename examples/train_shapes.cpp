// Trains a small SiT on procedural shapes with self-representation alignment.
// SPDX-License-Identifier: MIT
#include <sra/sra.hpp>

inline constexpr sra::DiTConfig config{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 192, .depth = 6, .heads = 3};
using Model = sra::SiT<config, sra::Classes<10>>;
using Align = sra::SRALoss<sra::Layer<2>, sra::Layer<4>>;  // cosine over features, weight 0.5, t' = t - U(0, 0.2)

int main() {
  const sra::Shapes<32> data;
  sra::Trainer<Model, Align> trainer{
      {.run = "runs/shapes", .batch = 32, .lr = sra::warmup(3e-4, 100)}};  // resumes if it exists
  for (auto step : trainer.train(data, 2'000)) {                           // SIGINT and SIGTERM save, then end the loop
    if (step.every(50)) step.log();
    if (step.every(500)) step.save();
  }
}
