// The demo: trains a small SiT on procedural shapes with self-representation alignment and draws samples.png.
// SPDX-License-Identifier: MIT
#include <sra/sra.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>

inline constexpr sra::DiTConfig config{
    .height = 16, .width = 16, .channels = 3, .patch = 2, .hidden = 64, .depth = 6, .heads = 2};
using Model = sra::SiT<config, sra::Classes<10>>;
using Align = sra::SRALoss<sra::Layer<2>, sra::Layer<4>>;  // the student's block 2 follows the teacher's block 4

/// Tokens, and weights in products, are of type T.
template <class T>
int train(sra::index_t steps) {
  const sra::Shapes<16> data;
  sra::Trainer<Model, Align, sra::Cpu, T> trainer{
      {.batch = 16, .lr = sra::warmup_cosine(2e-3, 100), .adamw = {.beta2 = 0.95}, .ema = {0.998}}};
  std::printf("%s\ntrains in %s on %s, %d threads\n", sra::summary<Model>().c_str(), sizeof(T) == 2 ? "bf16" : "float",
              to_string(trainer.backend().isa()).c_str(), trainer.backend().threads().size());
  std::fflush(stdout);
  for (auto step : trainer.train(data, steps))
    if (step.every(200)) step.log();
  if (trainer.stopped()) return 1;
  trainer.sample_grid("samples.png", {.steps = 25, .guidance = 2.0}, 6, 6);
  return 0;
}

int main(int argc, char** argv) try {
  const sra::index_t steps = argc > 1 ? std::atoll(argv[1]) : 6'000;
  if (steps < 1) return std::fprintf(stderr, "usage: demo [STEPS]\n"), 2;
  const bool bf16 = sra::Cpu({.threads = 1}).multiplies_bf16();
  return bf16 ? train<sra::bf16>(steps) : train<float>(steps);
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
