// The program of train_shapes on an NVIDIA GPU, in bf16; its checkpoints are those of the CPU.
// SPDX-License-Identifier: MIT
//
//     nvcc -std=c++20 -O2 -Iinclude -gencode arch=compute_90a,code=sm_90a examples/train_gpu.cu -lcublasLt -o train_gpu
#include <sra/sra.hpp>

#include <cstdio>
#include <exception>

inline constexpr sra::DiTConfig config{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 192, .depth = 6, .heads = 3};
using Model = sra::SiT<config, sra::Classes<10>>;
using Align = sra::SRALoss<sra::Layer<2>, sra::Layer<4>>;

int main() try {
  const sra::Shapes<32> data;
  sra::Trainer<Model, Align, sra::Cuda, sra::bf16> trainer{{.run = "runs/shapes", .batch = 256, .readers = 4}};

  for (auto step : trainer.train(data, 10'000)) {
    if (step.every(100)) step.log();
    if (step.every(1'000)) step.validate();
    if (step.every(1'000)) step.sample({.guidance = 1.8});
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
