// The folder of a run: what it has room for, and what a process that was killed left in it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/io/file.hpp>
#include <sra/train/checkpoint.hpp>
#include <sra/train/run_log.hpp>

#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace sra {

/// The losses of each sample of a validation: validation/step-000001000.npy, of further ones at the same step -2, -3, …
/// @param which of this step's, from 1
inline std::string validation_name(index_t step, index_t which) {
  return "validation/step-" + step_digits(step) + (which > 1 ? "-" + std::to_string(which) : "") + ".npy";
}

/// Makes a run's folder with checkpoints/, samples/ and validation/, and removes half-written files of killed processes.
/// @throws Error if there is no making it
inline void make_run_folder(const std::filesystem::path& folder) {
  constexpr const char* parts[] = {"", "checkpoints", "samples", "validation"};
  std::error_code code;
  for (const char* part : parts)
    if (!code) std::filesystem::create_directories(folder / part, code);
  if (code) throw Error(text("Trainer: run ", folder.string(), ": cannot make the folder: ", code.message()));
  for (const char* part : parts) remove_abandoned(folder / part);
}

/// Cuts off what a run left beyond its newest checkpoint: lines of the log, losses of validations.
inline void cut_run(const std::filesystem::path& folder, index_t last) {
  cut_log(folder / "log.jsonl", last);
  constexpr std::string_view prefix = "step-";
  std::vector<std::filesystem::path> beyond;
  std::error_code code;
  for (const auto& entry : std::filesystem::directory_iterator(folder / "validation", code)) {
    const std::string name = entry.path().filename().string();
    index_t step = -1;
    if (name.starts_with(prefix)) std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
    if (step > last && name.ends_with(".npy")) beyond.push_back(entry.path());
  }
  for (const auto& path : beyond) std::filesystem::remove(path, code);
}

}  // namespace sra
