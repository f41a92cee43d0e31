// Data of another size than the model's input.
// SPDX-License-Identifier: MIT
// expect: Trainer::train: the data's images must have the model's height, width and channels
#include <sra/sra.hpp>

using Model = sra::SiT<sra::DiTConfig{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 64, .depth = 4, .heads = 4}>;

void train(sra::Trainer<Model, sra::NoAlignment>& trainer) {
  const sra::Shapes<64> data;
  for (auto step : trainer.train(data, 10)) step.log();
}
