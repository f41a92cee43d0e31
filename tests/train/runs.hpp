// Small runs in folders: their options, how they are trained, what they leave behind.
// SPDX-License-Identifier: MIT
#pragma once

#include "process.hpp"
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

namespace sra::test {

namespace fs = std::filesystem;
using Align = SRALoss<Layer<>, Layer<>>;
using Trainer = sra::Trainer<Tiny, Align>;
using Options = Trainer::Options;

/// Two micro-batches of two of 13 items; two averages; warm-ups of learning rate and averages.
inline Options options(const std::string& run, int threads = 1) {
  Options o;
  o.run = run;
  o.batch = 4;
  o.accumulate = 2;
  o.seed = 11;
  o.lr = warmup(3e-3, 6);
  o.ema = {0.9999, 0.75};
  o.condition_dropout = 0.25f;
  o.align = {Layer{1}, Layer{2}};
  o.threads = threads;
  o.quiet = true;
  return o;
}

/// Trains until the run has `steps` updates; logs every second one before on_step(step).
template <class F>
void train(const Options& o, index_t steps, F on_step) {
  Trainer t{o};
  const Items items;
  for (auto step : t.train(items, steps)) {
    if (step.number() % 2 == 0) step.log();
    on_step(step);
  }
}
inline void train(const Options& o, index_t steps) {
  train(o, steps, [](auto) {});
}

inline std::vector<fs::path> checkpoints(const std::string& run) {
  return checkpoints_in(fs::path(run) / "checkpoints");
}

inline fs::path newest(const std::string& run) {
  const auto all = checkpoints(run);
  return all.empty() ? fs::path() : all.back();
}

inline index_t newest_step(const std::string& run) {
  const auto path = newest(run);
  return path.empty() ? 0 : std::stoll(SafeTensors(path).metadata().at("step"));
}

/// Step, learning rate and gradient norm of each line of a run's log.
inline std::vector<std::string> log_of(const std::string& run) {
  std::vector<std::string> lines;
  std::istringstream file(read_text(fs::path(run) / "log.jsonl"));
  for (std::string line; std::getline(file, line);) {
    std::string shown;
    for (const char* key : {"\"step\":", "\"gradient_norm\":", "\"lr\":", "\"epoch\":"}) {
      const auto at = line.find(key);
      shown += at == std::string::npos ? std::string("?") : line.substr(at, line.find_first_of(",}", at) - at) + " ";
    }
    lines.push_back(shown);
  }
  return lines;
}

/// Both runs ended with the same bits, and their logs tell the same steps once each.
inline void same_end(const std::string& a, const std::string& b) {
  BOOST_REQUIRE(!newest(a).empty());
  BOOST_TEST(newest(a).filename() == newest(b).filename());
  BOOST_TEST((read_text(newest(a)) == read_text(newest(b))));
  BOOST_TEST(log_of(a) == log_of(b), boost::test_tools::per_element());
}

/// A run of 12 updates that nothing interrupts, on three threads.
inline void uninterrupted(const std::string& run, index_t steps = 12) {
  BOOST_REQUIRE(in_process([&] { train(options(run, 3), steps); }) == 0);
  BOOST_TEST(newest_step(run) == steps);
}

}  // namespace sra::test
