// Trains one run: train RUN [NAME=NUMBER...]; goes on where the run ended, and ends with 75 if a signal stopped it.
// SPDX-License-Identifier: MIT
#include "alignment.hpp"

int main(int argc, char** argv) {
  std::map<std::string, double> o{{"steps", 10'000}, {"every", 1'000}, {"batch", 64},  {"lr", 3e-4},   {"seed", 0},
                                  {"threads", 0},    {"student", 3},   {"teacher", 8}, {"weight", 0.5}};
  for (int i = 2; i < argc; ++i) {
    const std::string option = argv[i], name = option.substr(0, option.find('='));
    if (!o.contains(name) || name == option) throw sra::Error(sra::text("expected NAME=NUMBER, got ", option));
    o[name] = std::stod(option.substr(name.size() + 1));
  }
  const sra::Shapes<config.height> data;
  sra::Trainer<Model, Alignment> trainer{{.run = argc > 1 ? argv[1] : "runs/first",
                                          .batch = int(o["batch"]),
                                          .seed = std::uint64_t(o["seed"]),
                                          .lr = sra::warmup(o["lr"], 100),
                                          .align = {{int(o["student"])}, {int(o["teacher"])}, float(o["weight"])},
                                          .threads = int(o["threads"])}};
  for (auto step : trainer.train(data, int(o["steps"]))) {
    if (step.number() == 1 || step.every(100)) step.log();
    if (step.every(int(o["every"]))) step.validate(), step.sample({.guidance = 2}), step.save();
  }
  return trainer.stopped() ? 75 : 0;
}
