// The logs of runs as TensorBoard's event files.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/extra/report/run_files.hpp>
#include <sra/extra/tensorboard.hpp>

#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <system_error>
#include <utility>

namespace sra::report {

/// Seconds since 1970 of "2026-01-31T12:00:00Z"; 0 for anything else.
inline double unix_time(const std::string& date) {
  using namespace std::chrono;
  int y = 0, h = 0, m = 0, s = 0;
  unsigned month = 0, d = 0;
  if (date.size() != 20 || std::sscanf(date.c_str(), "%4d-%2u-%2uT%2d:%2d:%2dZ", &y, &month, &d, &h, &m, &s) != 6)
    return 0;
  const year_month_day day{year(y), std::chrono::month(month), std::chrono::day(d)};
  if (!day.ok()) return 0;
  return static_cast<double>((sys_days(day) + hours(h) + minutes(m) + seconds(s)).time_since_epoch().count());
}

/// A run's log as events.  The log has no times of day: they are the run's beginning and the steps' own seconds since.
inline EventFile events_of(const Run& run) {
  const double begin = unix_time(run.record["started"].string());
  EventFile file(begin);
  const auto add = [&](const char* tag, index_t step, double time, double value) {
    if (std::isfinite(value)) file.scalar(tag, step, time, static_cast<float>(value));
  };
  double time = begin;
  index_t last = 0;
  auto validation = run.validations.begin();
  const auto validations_until = [&](index_t step) {
    for (; validation != run.validations.end() && validation->step <= step; ++validation) {
      if (validation->which > 1) continue;
      add("loss/validation", validation->step, time, validation->mean);
      add("loss/validation_live", validation->step, time, validation->live);
    }
  };
  for (const TrainingLine& line : run.training) {
    validations_until(line.step - 1);
    if (line.seconds_per_step > 0) time += line.seconds_per_step * static_cast<double>(line.step - last);
    last = line.step;
    add("loss/denoising", line.step, time, line.denoising);
    add("loss/alignment", line.step, time, line.alignment);
    add("loss/total", line.step, time, line.total);
    add("training/gradient_norm", line.step, time, line.gradient_norm);
    add("training/learning_rate", line.step, time, line.lr);
    add("training/images_per_second", line.step, time, line.images_per_second);
    validations_until(line.step);
  }
  validations_until(std::numeric_limits<index_t>::max());
  return file;
}

/// Writes one sub-folder of `folder` a run, named as the run's folder; names that occur twice get a number.
/// @throws Error if they cannot be written
inline void write_events(const fs::path& folder, std::span<const Run> runs) {
  std::set<std::string> used;
  for (const Run& run : runs) {
    const std::string name = fs::path(run.name).filename().string();
    std::string unique = name.empty() || name == "." || name == ".." ? "run" : name;
    for (int i = 2; !used.insert(unique).second; ++i) unique = name + "-" + std::to_string(i);
    std::error_code code;
    fs::create_directories(folder / unique, code);
    if (code) throw Error(text("report: ", (folder / unique).string(), ": cannot make the folder: ", code.message()));
    events_of(run).write(folder / unique / "events.out.tfevents.0.sra");
  }
}

}  // namespace sra::report
