// Holds the library against tensors of the authors' code: forward pass, losses, gradients, three updates, samples.
// SPDX-License-Identifier: MIT
//
//   parity DIR [DEVIATIONS]   checks every file it knows in DIR in float, and those in bf16 of which DEVIATIONS says how
//                             far PyTorch's bf16 is; a line `passed FILE: …` or `failed FILE: …` for each file and type
//   parity --isas             lists the instruction sets of this machine, or the device
//
// Compiled for one configuration and one backend: see scripts/parity for the macros.  Ends with 77 where it needs a device and
// there is none.
#include "comparison.hpp"
#include "deviations.hpp"
#include "golden_file.hpp"
#include "subject.hpp"

#include <sra/diffusion/sampler.hpp>
#include <sra/sra.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <regex>
#include <string>
#include <string_view>
#include <vector>

namespace parity {

namespace fs = std::filesystem;

template <class T>
using AnyTrainer = Subject<T, sra::LinearPath>;

template <class T>
void check_forward(const fs::path& weights, GoldenFile& file, Comparison& c) {
  AnyTrainer<T> trainer(options<AnyTrainer<T>>(1, 1, 0));
  trainer.load_weights(weights);
  const index_t batch = file.batch("x");
  const auto x = read_images<float>(file, "x", batch), t = file.read<float>("t", {batch});
  const auto y = file.read<std::int32_t>("y", {batch});
  const int student = layer(file, "block");

  sra::Workspace<Place> workspace(trainer.backend());
  sra::Detached<Place, T> context(workspace, trainer.engine().store().live());
  const Shape<sra::dynamic> each{batch};
  const auto image = placed(context, dense(x.data(), Model::ImageShape{batch}));
  const auto times = on_device(context, dense(t.data(), each));
  const Model& model = trainer.model();
  c.expect(file, "act.patch_embed", elements(model.x_embedder(image)), token_shape(batch), allowed::forward);
  c.expect(file, "act.t_embed", elements(model.t_embedder(context, times)), {batch, config.hidden}, allowed::forward);
  const auto output = model(image, times, on_device(context, dense(y.data(), each)), [&](int i, const auto& tokens) {
    c.expect(file, text("act.block", i), elements(tokens), token_shape(batch), allowed::forward);
    if (i != student) return;
    const auto projected = trainer.engine().store().module().extra.head(tokens);
    c.expect(file, "projected", elements(projected), token_shape(batch), allowed::forward);
  });
  expect_images(c, file, "output", elements(output), batch, allowed::forward);
}

/// Holds a gradient against the file.  Two are zero but for rounding, and are compared on the scale of the whole
/// gradient: that of the keys' bias, which softmax does not see, where keys are not normalised; and that of k_norm's
/// bias.
void expect_gradient(Comparison& c, GoldenFile& file, const sra::ParamInfo& p, std::vector<double> ours, double whole) {
  const std::string name = "grad." + p.name;
  if (!file.has(name)) return c.missing(name);
  auto theirs = file.read<double>(name, p.shape);
  if (p.name.ends_with("attn.k_norm.bias")) return c.expect(name, ours, theirs, allowed::gradient, whole);
  if (!config.qk_norm && p.name.ends_with("attn.qkv.bias")) {
    const auto third = p.size / 3;
    const auto keys = [&](std::vector<double>& x) { return doubles(x.begin() + third, x.begin() + 2 * third); };
    c.expect(name + " (keys)", keys(ours), keys(theirs), allowed::gradient, whole);
    for (auto* x : {&ours, &theirs}) x->erase(x->begin() + third, x->begin() + 2 * third);
  }
  c.expect(name, ours, theirs, allowed::gradient);
}

template <class T, class Path>
void check_loss(const fs::path& weights, GoldenFile& file, Comparison& c) {
  using Trainer = Subject<T, Path>;
  Trainer trainer(options<Trainer>(layer(file, "student_block"), layer(file, "teacher_block"),
                                   file.number("lambda_align"), distance(file)));
  trainer.load_weights(weights);
  const Inputs in(file);
  file.know("y");  // before dropping: nothing here depends on it
  const sra::Losses losses = trainer.losses(in.micro_batch(), in.draws());

  sra::Workspace<Place> workspace(trainer.backend());
  sra::Detached<Place, T> context(workspace, {});
  const auto noised = [&](const std::vector<float>& t) {
    const auto x = placed(context, in.images(in.x)), noise = placed(context, in.images(in.noise));
    return elements(trainer.engine().objective().noised(x, noise, on_device(context, in.times(t))));
  };
  expect_images(c, file, "x_t", noised(in.t), in.batch, allowed::loss);
  expect_images(c, file, "x_t_teacher", noised(in.t_teacher), in.batch, allowed::loss);
  const auto& per_sample = trainer.engine().denoising_per_sample();
  c.expect(file, "denoising_loss_per_sample", doubles(per_sample.begin(), per_sample.end()), {in.batch}, allowed::loss);
  expect_number(c, file, "align_loss_mean", losses.alignment, allowed::loss);
  expect_number(c, file, "total_loss", losses.total, allowed::loss);

  double squares = 0;
  for (const sra::ParamInfo& p : trainer.engine().store().parameters())
    if (p.kind == sra::ParamKind::trained)
      for (const float g : trainer.gradient_values(p.name)) squares += static_cast<double>(g) * static_cast<double>(g);
  expect_number(c, file, "grad_norm", std::sqrt(squares), allowed::gradient);
  const double whole = file.has("grad_norm") ? file.read<double>("grad_norm", {1})[0] : 0;
  for (const sra::ParamInfo& p : trainer.engine().store().parameters())
    if (p.kind == sra::ParamKind::trained) {
      const auto g = trainer.gradient_values(p.name);
      expect_gradient(c, file, p, doubles(g.begin(), g.end()), whole);
    }
}

/// "AdamW lr=1e-3 betas=(0.9,0.999) eps=1e-8 weight_decay=0.01"
std::pair<double, sra::AdamW<double>> optimizer(const GoldenFile& file) {
  const std::string s = file.metadata("optimizer");
  double lr = 0;
  sra::AdamW<double> a;
  int end = 0;
  const int read = std::sscanf(s.c_str(), "AdamW lr=%lf betas=(%lf,%lf) eps=%lf weight_decay=%lf%n", &lr, &a.beta1,
                               &a.beta2, &a.eps, &a.weight_decay, &end);
  if (read != 5 || static_cast<std::size_t>(end) != s.size())
    throw Error(text(file.name(), ": metadata optimizer: expected AdamW with lr, betas, eps and weight_decay, got \"",
                     s, "\""));
  return {lr, a};
}

/// Student and teacher block of a folder's losses, which its updates share; files that cannot be read fail elsewhere.
std::array<int, 2> layers_of(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder))
    if (entry.path().filename().string().starts_with("loss_")) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  for (const fs::path& path : files) {
    try {
      const GoldenFile file(path);
      return {layer(file, "student_block"), layer(file, "teacher_block")};
    } catch (const Error&) {
      continue;
    }
  }
  throw Error("train3.safetensors: expected a file loss_* beside it, which names the blocks, found none");
}

template <class T, class Path>
void check_train3(const fs::path& weights, GoldenFile& file, Comparison& c) {
  using Trainer = Subject<T, Path>;
  const auto [student, teacher] = layers_of(weights.parent_path());
  auto o = options<Trainer>(student, teacher, file.number("lambda_align"), distance(file));
  const auto [lr, adamw] = optimizer(file);
  o.adamw = adamw;
  o.lr = sra::constant(lr);
  o.clip = file.number("clip");
  o.ema = {file.number("ema_decay")};
  Trainer trainer(o);
  trainer.load_weights(weights);
  file.know("y");
  for (int k = 0; k < 3; ++k) {
    const std::string step = text("step", k, ".");
    const Inputs in(file, step);
    const sra::StepReport report = trainer.step(in.micro_batch(), in.draws());
    expect_number(c, file, step + "loss", report.losses.total, allowed::loss);
    expect_number(c, file, step + "grad_norm", report.gradient_norm, allowed::gradient);
  }
  for (const sra::ParamInfo& p : trainer.engine().store().parameters()) {
    const auto now = trainer.parameter_values(p.name), mean = trainer.ema_values(p.name);
    const bool noise = p.name.ends_with("attn.k_norm.bias");  // AdamW turns rounding noise into steps of size lr
    c.expect(file, "model_after." + p.name, doubles(now.begin(), now.end()), p.shape,
             noise ? allowed::model_after_key_norm_bias : allowed::model_after);
    c.expect(file, "ema_after." + p.name, doubles(mean.begin(), mean.end()), p.shape, allowed::ema_after);
  }
}

/// "1p8" is 1.8.
double decimal(std::string s) {
  std::replace(s.begin(), s.end(), 'p', '.');
  return std::stod(s);
}

/// The options that a name such as ode_euler10_cfg1p8_lo0p1_hi0p7 stands for; false for other names.
bool parse_sample(const std::string& name, sra::SamplerOptions& o, bool& cosine) {
  static const std::regex pattern(
      "(ode_euler|ode_heun|sde_em)([0-9]{1,4})(_cfg([0-9]+p?[0-9]*))?(_lo([0-9]+p?[0-9]*))?(_hi([0-9]+p?[0-9]*))?(_"
      "cosine)?");
  std::smatch part;
  if (!std::regex_match(name, part, pattern)) return false;
  o.method = part[1] == "ode_euler"  ? sra::SamplerMethod::ode_euler
             : part[1] == "ode_heun" ? sra::SamplerMethod::ode_heun
                                     : sra::SamplerMethod::sde_euler_maruyama;
  o.steps = std::stoi(part[2]);
  if (part[4].matched) o.guidance = decimal(part[4]);
  if (part[6].matched) o.guidance_low = decimal(part[6]);
  if (part[8].matched) o.guidance_high = decimal(part[8]);
  cosine = part[9].matched;
  return true;
}

using Number = Place::sampler_type;
using SamplerDraws = sra::SamplerDraws<Model, Number>;

template <class Path, class T>
std::vector<double> samples(AnyTrainer<T>& trainer, const std::vector<std::int32_t>& y, const sra::SamplerOptions& o,
                            const SamplerDraws& draws) {
  sra::Sampler<Model, Place, T, Path> sampler(trainer.backend(), trainer.model(), trainer.engine().store().live());
  return elements(sampler.sample(dense(y.data(), Shape<sra::dynamic>{static_cast<index_t>(y.size())}), o, draws));
}

template <class T>
void check_samples(const fs::path& weights, GoldenFile& file, Comparison& c) {
  AnyTrainer<T> trainer(options<AnyTrainer<T>>(1, 1, 0));
  trainer.load_weights(weights);
  const index_t batch = file.batch("z");
  const auto z = read_images<Number>(file, "z", batch);
  const auto y = file.read<std::int32_t>("y", {batch});
  for (const std::string name : {"ode_euler20", "ode_euler10_cfg1p8_lo0p1_hi0p7", "ode_heun8_cfg1p5",
                                 "sde_em12_cfg1p8_hi0p7", "sde_em12_cosine"})
    if (!file.has(name)) c.missing(name);
  for (const sra::TensorInfo& info : file.tensors()) {
    sra::SamplerOptions o;
    bool cosine = false;
    if (!parse_sample(info.name, o, cosine)) continue;
    SamplerDraws draws{.start = dense(z.data(), Model::ImageShape{batch})};
    std::vector<Number> noise;
    if (o.method == sra::SamplerMethod::sde_euler_maruyama) {
      const std::string tensor = cosine ? "sde_cosine_noise" : "sde_noise";
      noise = channels_last(file.read<Number>(tensor, {o.steps - 1, batch, channels, config.height, config.width}),
                            channels, pixels);
      draws.noise = noise;
    }
    const auto ours =
        cosine ? samples<sra::CosinePath, T>(trainer, y, o, draws) : samples<sra::LinearPath, T>(trainer, y, o, draws);
    expect_images(c, file, info.name, ours, batch, allowed::sample);
  }
}

/// Whether a file's name is known.
bool known(const std::string& name) {
  if (!known_family) return false;
  if (name == "forward.safetensors" || name == "train3.safetensors" || name == "samples.safetensors") return true;
  for (const auto& [distance, _] : distances())
    for (const std::string path : {sra::LinearPath::name, sra::CosinePath::name})
      if (name == "loss_" + distance + "_" + path + ".safetensors") return true;
  return false;
}

template <class T, class Path>
void check_training(const fs::path& weights, GoldenFile& file, Comparison& c) {
  (file.name().starts_with("train3") ? check_train3<T, Path> : check_loss<T, Path>)(weights, file, c);
}

template <class T>
void check_in(const fs::path& weights, GoldenFile& file, Comparison& c) {
  if (file.name().starts_with("forward")) return check_forward<T>(weights, file, c);
  if (file.name().starts_with("samples")) return check_samples<T>(weights, file, c);
  const std::string path = file.metadata("path");
  if (path == sra::LinearPath::name) return check_training<T, sra::LinearPath>(weights, file, c);
  if (path == sra::CosinePath::name) return check_training<T, sra::CosinePath>(weights, file, c);
  throw Error(text(file.name(), ": metadata: expected the path linear or cosine, got ", path));
}

/// Checks one file in one type and prints its line.
template <class T>
bool check(const fs::path& path, Comparison c) {
  try {
    GoldenFile file(path);
    check_in<T>(path.parent_path() / "weights.safetensors", file, c);
    c.print(file);
    return c.passed();
  } catch (const std::exception& e) {
    std::printf("failed %s: %s\n", path.filename().string().c_str(), e.what());
    return false;
  }
}

/// @param deviations of PyTorch's bf16, or empty
int check_folder(const fs::path& folder, const Deviations& deviations) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  int passed = 0, failed = 0;
  for (const fs::path& path : files) {
    const std::string name = path.filename().string();
    if (name == "weights.safetensors") continue;
    if (!known(name)) {
      std::printf("unknown %s\n", name.c_str());
      continue;
    }
    bool good = check<float>(path, {});
    if (const auto of_file = deviations.find(name); of_file != deviations.end())
      good = check<sra::bf16>(path, Comparison(of_file->second)) && good;
    ++(good ? passed : failed);
    std::fflush(stdout);
  }
  if (passed + failed == 0)
    std::printf("parity: %s: expected a file that %s has, found none\n", folder.string().c_str(), SRA_PARITY_FAMILY);
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

/// Where this program computes: instruction sets of the CPU, or the device; nothing if it needs one and there is none.
std::vector<std::string> places() {
  std::vector<std::string> names;
#ifdef SRA_PARITY_CUDA
  if (sra::arch::device_count() > 0) names.push_back(sra::arch::device(0).name);
#else
  for (const auto isa : sra::backend::available_isas()) names.push_back(to_string(isa));
#endif
  return names;
}

}  // namespace parity

int main(int count, char** words) {
  try {
    const std::string word = count == 2 || count == 3 ? words[1] : "";
    const auto places = parity::places();
    if (places.empty()) {
      std::puts("skipped: no device");
      return 77;
    }
    if (word == "--isas" && count == 2) {
      for (const std::string& place : places) std::printf("%s\n", place.c_str());
      return 0;
    }
    if (!word.empty() && word[0] != '-')
      return parity::check_folder(
          word, count == 3 ? parity::read_deviations(words[2], parity::Place::wide_residual) : parity::Deviations{});
    std::fprintf(stderr, "usage: parity DIR [DEVIATIONS] | parity --isas\n");
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "parity: %s\n", e.what());
    return 1;
  }
}
