// A data set of one's own: pictures of 1 x 64 x 128, and two numbers a picture as the model's condition.
// SPDX-License-Identifier: MIT
#include "07_dataset.hpp"
#include "small_run.hpp"

inline constexpr sra::DiTConfig config{
    .height = 64, .width = 128, .channels = 1, .patch = 16, .hidden = 48, .depth = 2, .heads = 3};
using Model = sra::SiT<config, sra::Vector<2>>;
using Data = lab::Waves<config.height, config.width>;

int main() {
  const Data data;
  sra::Batch<Data::Sample> one(1);
  data.read(17, sra::Rng(0, sra::Purpose::data, 0, 0), one.row(0));
  std::printf("item 17: %g half waves across, %g down\n", one.conditions()[0], one.conditions()[1]);
  for (int y = 0; y < config.height; y += 8) {
    for (int x = 0; x < config.width; x += 2) {
      const float brightness = (1 + one.images().row(0, y * config.width + x)[0]) / 2;
      std::putchar(" .:-=+*#%@"[static_cast<int>(9.999f * brightness)]);
    }
    std::putchar('\n');
  }
  sra::Trainer<Model> trainer{{.batch = 12, .lr = sra::constant(2e-3), .ema = {0.99}}};
  return lab::train_and_show(trainer, data, 100);
}
