// Trains a SiT on a folder of images, one sub-folder a class.
// SPDX-License-Identifier: MIT
#include <sra/extra/image_folder.hpp>
#include <sra/sra.hpp>

#include <CLI/CLI.hpp>

#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace {

// Sizes and the number of classes are part of the type: change them here.  About 10 million parameters.
inline constexpr sra::DiTConfig config{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 256, .depth = 8, .heads = 4};
using Model = sra::SiT<config, sra::Classes<10>>;
using Images = sra::ImageFolder<sra::Image<config.channels, config.height, config.width>>;

struct Arguments {
  std::string data, test, against, run = "runs/images", distance = "cosine";
  int student = sra::default_student_layer(config.depth), teacher = sra::default_teacher_layer(config.depth);
  sra::index_t steps = 2'000, batch = 64, accumulate = 1, log = 20, every = 500;
  double lr = 3e-4, ema = 0.999;
  std::uint64_t seed = 0;
  int threads = 0;
  bool bf16 = false;
  std::optional<double> weight{};
};

/// The denoising loss on images that were not trained on, and its difference from another run's on the same draws.
template <class Trainer>
void test(const Arguments& a, Trainer& trainer) {
  const std::vector<double> losses = trainer.validate(Images{a.test}, {.samples = 10'000}).averaged;
  const auto print = [](const std::string& what, sra::Estimate e) {
    std::printf("%s %.5f, standard error %.5f\n", what.c_str(), e.mean, e.standard_error);
  };
  print("test loss of the averaged weights", sra::Estimate::of(losses));
  sra::write_npy<double>(a.run + "/test.npy", losses, {std::ssize(losses)});
  if (!a.against.empty())
    print("this run's minus that of " + a.against,
          sra::paired_difference(sra::Npy(a.against + "/test.npy").read<double>(), losses));
}

/// @tparam T type of tokens and of the weights that products read
template <class T, class Align>
void train(const Arguments& a, Align align) {
  const Images data{a.data, {.flip = true}};
  sra::Trainer<Model, Align, sra::Cpu, T> trainer{{.run = a.run,
                                                   .batch = a.batch,
                                                   .accumulate = a.accumulate,
                                                   .seed = a.seed,
                                                   .lr = sra::warmup(a.lr, 100),
                                                   .ema = {a.ema},
                                                   .align = align,
                                                   .threads = a.threads}};
  std::printf("%s\n%s\n%zu images of %d classes\n", sra::summary<Model>().c_str(), align.describe().c_str(),
              data.size(), static_cast<int>(data.classes()));
  std::fflush(stdout);
  for (auto step : trainer.train(data, a.steps)) {
    if (step.every(a.log)) step.log();
    if (step.every(a.every)) step.save();
    if (step.every(a.every)) step.sample({.steps = 50, .guidance = 2.0});
  }
  if (!a.test.empty() && !trainer.stopped()) test(a, trainer);
}

/// The distance that the command line names.
struct Chosen {
  std::variant<sra::Cosine, sra::TokenCosine, sra::SmoothL1, sra::L1, sra::L2> distance{};

  static sra::Schedule default_weight() { return sra::Cosine::default_weight(); }
  sra::Schedule weight() const {
    return std::visit([](auto d) { return d.default_weight(); }, distance);
  }
  std::string describe() const {
    return std::visit([](auto d) { return d.describe(); }, distance);
  }
  /// @param a, b [B, T, D]  @return one number
  auto operator()(sra::Variable auto a, sra::Variable auto b) const {
    return std::visit([&](auto d) { return d(a, b); }, distance);
  }
};

template <class T>
void train(const Arguments& a) {
  if (a.distance == "none") return train<T>(a, sra::NoAlignment{});
  const std::map<std::string, Chosen> named{{"cosine", {sra::Cosine{}}},
                                            {"token_cosine", {sra::TokenCosine{}}},
                                            {"smooth_l1", {sra::SmoothL1{}}},
                                            {"l1", {sra::L1{}}},
                                            {"l2", {sra::L2{}}}};
  sra::SRALoss<sra::Layer<>, sra::Layer<>, Chosen> align{sra::Layer{a.student}, sra::Layer{a.teacher},
                                                         named.at(a.distance)};
  align.weight = a.weight ? sra::constant(*a.weight) : align.distance.weight();
  train<T>(a, align);
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments a;
  CLI::App app{"Trains a SiT on images: DIR/<class>/*.jpg or png"};
  app.add_option("--data", a.data, "folder with one sub-folder a class")->required();
  app.add_option("--run", a.run, "folder of checkpoints, log and pictures; resumed if it exists")
      ->capture_default_str();
  app.add_option("--test", a.test, "folder of further images: the loss on them is printed at the end");
  app.add_option("--against", a.against, "run with a test loss of its own, from which the difference is printed");
  app.add_option("--steps", a.steps, "updates in all")->capture_default_str();
  app.add_option("--distance", a.distance, "between student and teacher; none: no alignment")
      ->check(CLI::IsMember({"cosine", "token_cosine", "smooth_l1", "l1", "l2", "none"}))
      ->capture_default_str();
  app.add_option("--student", a.student, "student's layer, from 1")
      ->check(CLI::Range(1, config.depth))
      ->capture_default_str();
  app.add_option("--teacher", a.teacher, "teacher's layer")->check(CLI::Range(1, config.depth))->capture_default_str();
  app.add_option("--weight", a.weight, "of the distance in the loss; default: the distance's own");
  app.add_option("--batch", a.batch, "images an update")->capture_default_str();
  app.add_option("--accumulate", a.accumulate, "micro-batches an update")->capture_default_str();
  app.add_option("--lr", a.lr, "learning rate after 100 updates of warm-up")->capture_default_str();
  app.add_option("--ema", a.ema, "decay of the averages, which are the teacher")->capture_default_str();
  app.add_option("--log", a.log, "updates between lines of the log")->capture_default_str();
  app.add_option("--every", a.every, "updates between checkpoints and sample grids")->capture_default_str();
  app.add_option("--seed", a.seed, "of everything random")->capture_default_str();
  app.add_option("--threads", a.threads, "0: all cores")->capture_default_str();
  app.add_flag("--bf16", a.bf16, "compute in bf16; weights and averages stay float, and a run may change it on resume");
  app.set_config("--config", "", "file with these options");
  CLI11_PARSE(app, argc, argv);
  a.bf16 ? train<sra::bf16>(a) : train<float>(a);
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
