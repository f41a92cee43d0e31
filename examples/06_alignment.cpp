// An alignment of one's own: parameters that train along, a target from the samples, no teacher.
// SPDX-License-Identifier: MIT
#include "06_alignment.hpp"
#include "small_run.hpp"

using Align = lab::Repa<sra::Layer<2>, 3, 96>;

int main() {
  const lab::Described<lab::config.height, lab::config.patch> data;
  sra::Trainer<lab::Model, Align> trainer{{.batch = 16, .lr = sra::constant(2e-3), .ema = {0.99}}};
  return lab::train_and_show(trainer, data, 150);
}
