// One of the two runs of the demo, with or without alignment, seen alike from outside.
// SPDX-License-Identifier: MIT
#pragma once

#include "model.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace demo {

/// What both runs share: the same weights, pictures and noise follow from the same seed.
struct Settings {
  std::filesystem::path folder = "sra-demo";
  index_t steps = 0, batch = 16;  ///< 0: as many steps as take `seconds` on this machine
  double seconds = 130;
  std::uint64_t seed = 0;
  int threads = 0;             ///< 0: all cores
  index_t validation = 2'048;  ///< held-out pictures
  index_t probed = 1'000;      ///< pictures that a probe is fitted to, and as many that it is tried on
  index_t judged = 300;        ///< samples of each run that are judged
  index_t judge_steps = 600;   ///< of training the judge
  index_t sampler_steps = 20;
  double guidance = 3;
  index_t profiled = 20;  ///< steps of which the report says where their time went
};

/// Whose weights, at what time: the averaged ones are the teacher's.
struct Looked {
  bool averaged;
  double time;
};

/// Trains step by step, and answers what is asked in between.
class Run {
 public:
  virtual ~Run() = default;

  /// Goes on to a step.  @return false if a signal came
  virtual bool train_to(index_t step) = 0;
  /// Writes a checkpoint and a grid of samples into the run's folder.
  virtual void save() = 0;
  /// Denoising loss and unweighted alignment, means over the steps since the last call; seconds of training so far.
  virtual sra::Losses losses() = 0;
  virtual double seconds() const = 0;

  /// The denoising loss of each held-out picture with the averaged weights, on draws that both runs share.
  virtual std::vector<double> validate(index_t samples) = 0;
  /// Samples of the averaged weights, one for each label.  @return [N, side, side, 3]
  virtual Pictures sample(std::span<const std::int32_t> labels, std::uint64_t seed) = 0;
  /// Features after blocks, without the label.  @return for each block [N, T, D]
  virtual std::vector<std::vector<float>> features(const Pictures& pictures, Looked looked,
                                                   std::span<const int> blocks) = 0;
  /// Features as the alignment's head hands them to the comparison; as they are without alignment.  @param features [N, T, D]
  virtual std::vector<float> through_head(const std::vector<float>& features) = 0;
  /// What the model is shown of pictures at a time.  @return [N, side, side, 3]
  virtual std::vector<float> noised(const Pictures& pictures, double time) = 0;

  /// Measures where some steps' time goes, and writes it into the run's folder.  The run goes on as if it had not been asked.
  virtual void profile(index_t steps) = 0;
  virtual sra::MemoryPlan memory_plan() = 0;
  /// "avx512, 2 threads"
  virtual std::string machine() = 0;
};

/// Both are in files of their own, which compile at the same time.
std::unique_ptr<Run> run_with_alignment(const Settings& settings);
std::unique_ptr<Run> run_without_alignment(const Settings& settings);

}  // namespace demo
