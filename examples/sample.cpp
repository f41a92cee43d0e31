// Draws images from a checkpoint: sample RUN CLASS OUT.png, for the model of train_shapes.
// SPDX-License-Identifier: MIT
#include <sra/sra.hpp>

#include <cstdio>
#include <cstdlib>
#include <vector>

inline constexpr sra::DiTConfig config{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 192, .depth = 6, .heads = 3};
using Model = sra::SiT<config, sra::Classes<10>>;

int main(int argc, char** argv) try {
  if (argc != 4) return std::fprintf(stderr, "usage: sample RUN CLASS OUT.png\n"), 2;
  sra::Cpu cpu;
  const sra::Weights<Model> weights(cpu, argv[1]);  // the averaged weights of the newest checkpoint
  sra::Sampler sampler(cpu, weights.model(), weights.table());
  const std::vector<std::int32_t> labels(16, std::atoi(argv[2]));
  const auto images =
      sampler.sample(sra::dense(labels.data(), sra::Shape<sra::dynamic>{16}), {.steps = 50, .guidance = 2});
  const std::vector<float> shown(images.data, images.data + images.shape.size());
  sra::write_grid(argv[3], shown, 16, config.height, config.width, config.channels, 4, 4);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
