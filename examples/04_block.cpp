// A block of one's own in a model of one's own, trained with the library's alignment.
// SPDX-License-Identifier: MIT
#include "04_block.hpp"
#include "small_run.hpp"

using Model = lab::CausalModel<lab::config, sra::Classes<10>>;
using Align = sra::SRALoss<sra::Layer<1>, sra::Layer<3>>;

int main() {
  const sra::Shapes<16> data;
  sra::Trainer<Model, Align> trainer{{.batch = 16, .lr = sra::constant(2e-3), .ema = {0.99}}};
  std::printf("%s\n", sra::summary<Model>().c_str());
  return lab::train_and_show(trainer, data, 150);
}
