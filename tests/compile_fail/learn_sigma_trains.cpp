// A model that also predicts variances has no flow-matching loss.
// SPDX-License-Identifier: MIT
// expect: FlowMatching: the velocity must have the images' shape; models with learn_sigma are for sampling only
#include <sra/sra.hpp>

using Model = sra::SiT<sra::DiTConfig{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 64, .depth = 4, .heads = 4, .learn_sigma = true}>;

void train(sra::Trainer<Model>& trainer) {
  const sra::Shapes<32> data;
  for (auto step : trainer.train(data, 10)) step.log();
}
