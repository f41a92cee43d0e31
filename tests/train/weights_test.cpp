// Tests reading weights: from a run, with and without prefixes, what does not fit, and what a sampler draws by them.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "tiny_run.hpp"

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

using Run = Trainer<Tiny, SRALoss<Layer<1>, Layer<2>>>;

Run::Options options(const std::string& run = "") {
  return {.run = run, .batch = 6, .lr = constant(1e-2), .ema = {0.9}, .threads = 1, .quiet = true};
}

/// Writes the trainer's weights under other names; `change` may alter name and shape, or return false to leave one out.
template <class Change>
void write(const std::filesystem::path& path, const Run& trainer, const std::string& prefix, Change change) {
  SafeTensorsWriter writer;
  const auto& store = trainer.engine().store();
  for (const ParamInfo& p : store.parameters()) {
    std::string name = prefix + p.name, dtype = "F32";
    std::vector<index_t> shape = p.shape;
    if (change(name, dtype, shape))
      writer.add(name, dtype, shape,
                 std::as_bytes(std::span<const float>(store.master() + p.offset, static_cast<std::size_t>(p.size))));
  }
  writer.write(path);
}
const auto as_it_is = [](std::string&, std::string&, std::vector<index_t>&) { return true; };

bool holds(const std::exception& e, const std::vector<std::string>& words) {
  const std::string message = e.what();
  BOOST_TEST_MESSAGE(message);
  for (const std::string& word : words)
    if (message.find(word) == std::string::npos) return false;
  return true;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_run_gives_its_newest_averages_and_a_sampler_draws_what_the_trainer_draws) {
  const TemporaryFolder folder;
  Run trainer(options(folder / "run"));
  const Items data;
  for (auto step : trainer.train(data, 3)) step.save();
  Cpu cpu{{.threads = 1}};
  const Weights<Tiny> weights(cpu, folder / "run");
  for (const ParamInfo& p : parameters_of(weights.model())) {
    const auto expected = trainer.ema(p.name);
    for (index_t i = 0; i < p.size; ++i)
      BOOST_REQUIRE(weights.table().values[p.offset + i] == expected[static_cast<std::size_t>(i)]);
  }
  Sampler sampler(cpu, weights.model(), weights.table());
  const std::vector<std::int32_t> labels{0, 2, 1};
  const auto condition = dense(labels.data(), Shape<dynamic>{3});
  const SamplerOptions o{.steps = 3, .guidance = 2};
  const auto ours = sampler.sample(condition, o), theirs = trainer.sampler().sample(condition, o);
  for (index_t i = 0; i < ours.shape.size(); ++i) BOOST_REQUIRE(ours.data[i] == theirs.data[i]);
}

BOOST_AUTO_TEST_CASE(bare_keys_of_a_state_dict_are_read_and_further_tensors_passed_over) {
  const TemporaryFolder folder;
  Run trainer(options());
  randomise(trainer);
  write(folder / "bare.safetensors", trainer, "", as_it_is);  // with the alignment's head, which the model has not
  Cpu cpu{{.threads = 1}};
  const Weights<Tiny> weights(cpu, folder / "bare.safetensors");
  const auto expected = trainer.parameter("blocks.1.mlp.fc1.weight");
  for (const ParamInfo& p : parameters_of(weights.model()))
    if (p.name == "blocks.1.mlp.fc1.weight") BOOST_TEST(weights.table().values[p.offset + 5] == expected[5]);
  Run other(options());
  other.load_weights(folder / "bare.safetensors");
  BOOST_TEST(other.parameter("blocks.1.mlp.fc1.weight")[5] == expected[5]);
  BOOST_TEST(other.ema("blocks.1.mlp.fc1.weight")[5] == expected[5]);
}

BOOST_AUTO_TEST_CASE(everything_that_does_not_fit_is_named_and_nothing_changes) {
  const TemporaryFolder folder;
  Run trainer(options());
  const auto path = folder / "wrong.safetensors";
  write(path, trainer, "model.", [](std::string& name, std::string& dtype, std::vector<index_t>& shape) {
    if (name == "model.blocks.0.attn.qkv.weight") std::swap(shape[0], shape[1]);
    if (name == "model.blocks.2.mlp.fc2.bias") name = "model.blocks.2.mlp.fc3.bias";
    if (name == "model.final_layer.linear.bias") dtype = "F8_E4M3", shape.push_back(4);
    return name != "model.x_embedder.proj.bias";
  });
  const auto before = state_of(trainer);
  BOOST_CHECK_EXCEPTION(trainer.load_weights(path), Error, [&](const Error& e) {
    return holds(e, {path.string(), "missing: model.x_embedder.proj.bias", "missing: model.blocks.2.mlp.fc2.bias",
                     "wrong shape: model.blocks.0.attn.qkv.weight: expected [48, 16], file has [16, 48]",
                     "unexpected: model.blocks.2.mlp.fc3.bias", "wrong dtype: model.final_layer.linear.bias"});
  });
  BOOST_TEST((state_of(trainer) == before));
  Cpu cpu{{.threads = 1}};
  BOOST_CHECK_EXCEPTION(Weights<Tiny>(cpu, path), Error,
                        [](const Error& e) { return holds(e, {"missing: model.x_embedder.proj.bias"}); });
}

BOOST_AUTO_TEST_CASE(a_folder_without_a_checkpoint_is_named) {
  const TemporaryFolder folder;
  Cpu cpu{{.threads = 1}};
  BOOST_CHECK_EXCEPTION(Weights<Tiny>(cpu, folder.path()), Error, [&](const Error& e) {
    return holds(e, {folder.path().string(), "a run with a checkpoint"});
  });
}
