// Reads what a run left in its folder; what is missing or damaged is left out and said.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/io/file.hpp>
#include <sra/io/json_tree.hpp>
#include <sra/io/npy.hpp>
#include <sra/train/profile.hpp>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <filesystem>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace sra::report {

namespace fs = std::filesystem;

/// A line of the log about training: means since the line before.  What the line lacks is NaN.
struct TrainingLine {
  index_t step = 0;
  double denoising = 0, alignment = 0, total = 0, gradient_norm = 0, lr = 0, seconds_per_step = 0,
         images_per_second = 0;
};

/// A line of the log about a validation.
struct ValidationLine {
  index_t step = 0, which = 1;  ///< which of this step's
  double mean = 0, error = 0, live = 0, samples = 0, seed = 0;
  std::vector<double> losses{};  ///< of each sample under the averaged weights; empty if the file is not there
};

/// A picture: the bytes of a PNG file.
struct Picture {
  std::string caption, bytes;
  index_t step = -1;  ///< updates before it was drawn; -1: not said
};

/// What a run's folder holds.
struct Run {
  fs::path folder{};
  std::string name{};  ///< on pages and in tables
  Json record{};       ///< run.json
  std::vector<TrainingLine> training{};
  std::vector<ValidationLine> validations{};
  std::optional<Profile> profile{};
  std::vector<std::pair<index_t, fs::path>> samples{};  ///< by steps
  index_t damaged_lines = 0;                            ///< of the log, passed over
  std::vector<std::string> notes{};                     ///< what could not be read

  /// A setting of the training, or "".
  const std::string& setting(std::string_view key) const { return record["settings"][key].string(); }
};

/// Files and logs beyond these sizes are cut: a page must open whatever a folder holds.
inline constexpr std::size_t most_text = std::size_t{1} << 20, most_log = std::size_t{64} << 20;
inline constexpr std::size_t most_line = std::size_t{1} << 16, most_picture = std::size_t{1} << 20;

/// A small file's bytes; nothing if it is not there, unreadable or larger than `most`.
inline std::optional<std::string> small_file(const fs::path& path, std::size_t most) {
  try {
    const MappedFile file(path);
    if (file.bytes().size() > most) return {};
    return std::string(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  } catch (const Error&) {
    return {};
  }
}

namespace detail {

inline double number_of(const Json& line, std::string_view key) {
  return line[key].number(std::numeric_limits<double>::quiet_NaN());
}

/// Whether a number can be a step.
inline bool is_step(double x) { return x >= 0 && x <= 0x1p53 && x == std::floor(x); }

inline std::vector<double> losses_of(const Run& run, const Json& line) {
  const fs::path name = line["validation_losses"].string();
  if (name.empty() || name.is_absolute() || name.parent_path() != "validation")
    return {};  // nothing outside the folder
  const Npy file(run.folder / name);
  const double samples = line["validation_samples"].number();
  if (file.shape().size() != 2 || file.shape()[0] != 2 || static_cast<double>(file.shape()[1]) != samples)
    throw Error(text((run.folder / name).string(), ": expected two rows of ", samples, " losses"));
  std::vector<double> both = file.read<double>();
  both.resize(both.size() / 2);
  return both;
}

inline void read_line(Run& run, const Json& line) {
  const double step = number_of(line, "step");
  if (!is_step(step)) throw Error("no step");
  const auto at = static_cast<index_t>(step);
  if (line.has("denoising") || line.has("seconds_per_step"))
    run.training.push_back({at, number_of(line, "denoising"), number_of(line, "alignment"), number_of(line, "total"),
                            number_of(line, "gradient_norm"), number_of(line, "lr"),
                            number_of(line, "seconds_per_step"), number_of(line, "images_per_second")});
  if (!line.has("validation")) return;
  ValidationLine v{at,
                   1,
                   number_of(line, "validation"),
                   line["validation_error"].number(),
                   number_of(line, "validation_live"),
                   line["validation_samples"].number(),
                   line["validation_seed"].number()};
  for (auto earlier = run.validations.rbegin(); earlier != run.validations.rend() && earlier->step == at; ++earlier)
    ++v.which;
  try {
    v.losses = losses_of(run, line);
  } catch (const Error& e) {
    run.notes.emplace_back(e.what());
  }
  run.validations.push_back(std::move(v));
}

inline void read_log(Run& run) {
  const fs::path path = run.folder / "log.jsonl";
  std::error_code code;
  if (!fs::is_regular_file(path, code)) return run.notes.push_back(path.string() + ": there is no log");
  const MappedFile file(path);
  std::string_view rest(reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size());
  if (rest.size() > most_log) {
    rest = rest.substr(0, most_log);
    run.notes.push_back(path.string() + ": only its first 64 MiB were read");
  }
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.empty()) continue;
    try {
      if (line.size() > most_line) throw Error("too long");
      read_line(run, Json::parse(line, "log"));
    } catch (const Error&) {
      ++run.damaged_lines;
    }
  }
  const auto earlier = [](const auto& a, const auto& b) { return a.step < b.step; };
  std::stable_sort(run.training.begin(), run.training.end(), earlier);
  std::stable_sort(run.validations.begin(), run.validations.end(), earlier);
}

/// The files samples/step-000001000.png by their steps.
inline std::vector<std::pair<index_t, fs::path>> samples_of(const fs::path& folder) {
  constexpr std::string_view prefix = "step-";
  std::map<index_t, fs::path> found;
  std::error_code code;
  for (fs::directory_iterator at(folder / "samples", code), end; !code && at != end; at.increment(code)) {
    const std::string name = at->path().stem().string();
    index_t step = -1;
    if (at->path().extension() != ".png" || !name.starts_with(prefix)) continue;
    const auto [last, status] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), step);
    if (status == std::errc{} && last == name.data() + name.size() && step >= 0) found[step] = at->path();
  }
  return {found.begin(), found.end()};
}

}  // namespace detail

/// A picture of a file; nothing if it is not there, too large, or no PNG.
inline std::optional<Picture> picture_of(const fs::path& path, std::string caption, index_t step = -1) {
  auto bytes = small_file(path, most_picture);
  if (!bytes || bytes->size() < 24 || !bytes->starts_with("\x89PNG\r\n\x1a\n")) return {};
  return Picture{std::move(caption), std::move(*bytes), step};
}

/// JSON of a file; null, with a note if there is one that cannot be read.
inline Json json_of(const fs::path& path, std::vector<std::string>& notes) {
  std::error_code code;
  if (!fs::exists(path, code)) return {};
  try {
    const auto bytes = small_file(path, most_text);
    if (!bytes) throw Error(path.string() + ": expected a file of at most 1 MiB");
    return Json::parse(*bytes, path.string());
  } catch (const Error& e) {
    notes.emplace_back(e.what());
    return {};
  }
}

/// Reads a run's folder.  @throws Error if it is no folder; whatever else is wrong is noted in the run
inline Run read_run(const fs::path& folder) {
  std::error_code code;
  if (!fs::is_directory(folder, code)) throw Error(text("report: ", folder.string(), ": expected the folder of a run"));
  Run run;
  run.folder = folder;
  run.name = folder.generic_string();
  detail::read_log(run);
  run.record = json_of(folder / "run.json", run.notes);
  run.samples = detail::samples_of(folder);
  try {
    if (fs::exists(folder / "profile.jsonl", code)) run.profile = Profile::read(folder / "profile.jsonl");
  } catch (const Error& e) {
    run.notes.emplace_back(e.what());
  }
  return run;
}

/// Reads the folders of some runs and names them by their last part where that tells them apart.
inline std::vector<Run> read_runs(const std::vector<fs::path>& folders) {
  std::vector<Run> runs;
  std::set<std::string> names;
  for (const fs::path& folder : folders) {
    runs.push_back(read_run(folder));
    const fs::path normal = (folder / "").lexically_normal().parent_path();
    names.insert(normal.filename().string());
    runs.back().name = normal.filename().string();
  }
  if (names.size() == runs.size() && !names.contains("") && !names.contains(".") && !names.contains("..")) return runs;
  for (std::size_t i = 0; i < runs.size(); ++i) runs[i].name = folders[i].generic_string();
  return runs;
}

}  // namespace sra::report
