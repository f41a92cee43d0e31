// A distance of one's own in the library's alignment.  05_distance RUN keeps the run, from which 08_embedding draws.
// SPDX-License-Identifier: MIT
#include "05_distance.hpp"
#include "small_run.hpp"

using Align = sra::SRALoss<sra::Layer<1>, sra::Layer<3>, lab::Gram>;

int main(int argc, char** argv) {
  const sra::Shapes<16> data;
  sra::Trainer<lab::Model, Align> trainer{
      {.run = argc > 1 ? argv[1] : "", .batch = 16, .lr = sra::constant(2e-3), .ema = {0.99}}};
  std::printf("%s\n", trainer.options().align.describe().c_str());
  return lab::train_and_show(trainer, data, 150);
}
