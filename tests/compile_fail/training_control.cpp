// Control: an alignment and data that fit the model.
// SPDX-License-Identifier: MIT
// expect-ok
#include <sra/sra.hpp>

using Model = sra::SiT<sra::DiTConfig{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 64, .depth = 4, .heads = 4}>;

void train(sra::Trainer<Model, sra::SRALoss<sra::Layer<2>, sra::Layer<4>>>& trainer) {
  const sra::Shapes<32> data;
  for (auto step : trainer.train(data, 10)) step.log();
}
