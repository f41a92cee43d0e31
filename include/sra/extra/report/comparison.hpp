// Differences between runs, in pairs where both saw the same: data, times and noise.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/estimate.hpp>
#include <sra/extra/report/run_files.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sra::report {

/// b − a at one step.
struct Difference {
  index_t step = 0;
  double mean = 0, error = 0;  ///< a standard error; of one number there is none, 0
  bool paired = false;         ///< sample by sample
  index_t which = 1;           ///< of this step's validations
};

/// Whether two runs trained on the same samples, times and noise in the same order, as far as their records tell.
inline bool same_draws(const Run& a, const Run& b) {
  for (const char* key : {"seed", "batch", "accumulate"})
    if (a.setting(key).empty() || a.setting(key) != b.setting(key)) return false;
  return true;
}

/// Calls f(x, y) for the lines of both that `same(x, y)` says belong together; both are in the order of their steps.
template <class Line, class Same, class F>
void for_pairs(const std::vector<Line>& a, const std::vector<Line>& b, Same same, F f) {
  std::size_t begin = 0;
  for (const Line& x : a) {
    while (begin < b.size() && b[begin].step < x.step) ++begin;
    for (std::size_t i = begin; i < b.size() && b[i].step == x.step; ++i)
      if (same(x, b[i])) {
        f(x, b[i]);
        break;
      }
  }
}

/// The validation loss of b minus that of a wherever both validated on the same draws.  In pairs where both left the losses of
/// their samples; otherwise the error is that of two independent means, which is far too large for runs on the same draws.
inline std::vector<Difference> validation_differences(const Run& a, const Run& b) {
  std::vector<Difference> all;
  const auto same = [](const ValidationLine& x, const ValidationLine& y) {
    return x.which == y.which && x.samples == y.samples && x.seed == y.seed;
  };
  for_pairs(a.validations, b.validations, same, [&](const ValidationLine& x, const ValidationLine& y) {
    const bool paired = !x.losses.empty() && x.losses.size() == y.losses.size();
    const Estimate e =
        paired ? paired_difference(x.losses, y.losses) : Estimate{y.mean - x.mean, std::hypot(x.error, y.error)};
    if (std::isfinite(e.mean)) all.push_back({x.step, e.mean, e.standard_error, paired, x.which});
  });
  return all;
}

/// The denoising loss of training of b minus that of a where both have a line.
inline std::vector<Difference> training_differences(const Run& a, const Run& b) {
  std::vector<Difference> all;
  const bool paired = same_draws(a, b);
  for_pairs(
      a.training, b.training, [](const auto&, const auto&) { return true; },
      [&](const TrainingLine& x, const TrainingLine& y) {
        if (std::isfinite(y.denoising - x.denoising)) all.push_back({x.step, y.denoising - x.denoising, 0, paired});
      });
  return all;
}

/// The mean of the last `most` differences; its error is that of lines, which are other samples each.
inline std::optional<Difference> last_training_difference(const std::vector<Difference>& all, std::size_t most = 20) {
  if (all.size() < 2) return {};
  std::vector<double> last;
  for (std::size_t i = all.size() - std::min(most, all.size()); i < all.size(); ++i) last.push_back(all[i].mean);
  const Estimate e = Estimate::of(last);
  return Difference{all.back().step, e.mean, e.standard_error, all.back().paired};
}

/// What a table says of a run.
struct Summary {
  std::string run{}, folder{};
  index_t steps = 0;
  std::optional<double> training{};                               ///< denoising loss, mean of the last 20 lines
  std::optional<ValidationLine> validation{};                     ///< the last
  std::optional<Difference> difference{}, training_difference{};  ///< from the first run
  std::optional<double> seconds_per_step{}, images_per_second{};
  index_t damaged_lines = 0;
};

namespace detail {

/// The mean of a number over the last lines in which it is finite.
template <class Line>
std::optional<double> last_mean(const std::vector<Line>& lines, double Line::*field, std::size_t most = 20) {
  double sum = 0;
  std::size_t n = 0;
  for (auto line = lines.rbegin(); line != lines.rend() && n < most; ++line)
    if (std::isfinite((*line).*field)) sum += (*line).*field, ++n;
  if (n == 0) return {};
  return sum / static_cast<double>(n);
}

}  // namespace detail

/// The summaries of some runs, their differences from the first.
inline std::vector<Summary> summaries_of(std::span<const Run> runs) {
  std::vector<Summary> all;
  for (const Run& run : runs) {
    Summary s{.run = run.name, .folder = run.folder.generic_string(), .damaged_lines = run.damaged_lines};
    if (!run.training.empty()) s.steps = run.training.back().step;
    s.training = detail::last_mean(run.training, &TrainingLine::denoising);
    s.seconds_per_step = detail::last_mean(run.training, &TrainingLine::seconds_per_step);
    s.images_per_second = detail::last_mean(run.training, &TrainingLine::images_per_second);
    if (!run.validations.empty()) {
      s.validation = run.validations.back();
      s.steps = std::max(s.steps, s.validation->step);
    }
    if (&run != &runs.front()) {
      const auto validation = validation_differences(runs.front(), run);
      if (!validation.empty()) s.difference = validation.back();
      s.training_difference = last_training_difference(training_differences(runs.front(), run));
    }
    all.push_back(std::move(s));
  }
  return all;
}

}  // namespace sra::report
