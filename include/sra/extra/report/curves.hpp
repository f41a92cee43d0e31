// The curves of a report: losses of all runs, and beneath them the differences from the first.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/extra/report/chart.hpp>
#include <sra/extra/report/comparison.hpp>
#include <sra/extra/report/facts.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sra::report {

namespace detail {

inline bool empty(const Chart& chart) {
  return std::all_of(chart.series.begin(), chart.series.end(), [](const Series& s) { return s.points.empty(); });
}

inline Series series_of(const std::vector<Difference>& all, int colour, bool marked) {
  Series s{{}, colour, marked};
  for (const Difference& d : all)
    if (d.which == 1) s.points.push_back({static_cast<double>(d.step), d.mean, d.error});
  return s;
}

/// Whether all of some differences are in pairs.
inline bool all_paired(const std::vector<Difference>& all) {
  return std::all_of(all.begin(), all.end(), [](const Difference& d) { return d.paired; });
}

}  // namespace detail

/// Losses on fixed draws, with bars of one standard error, and their differences.
inline std::string validation_section(std::span<const Run> runs) {
  Chart losses{.y_label = "loss", .description = "validation loss against updates"};
  Chart differences{.x_label = "updates",
                    .y_label = runs.empty() ? "" : "difference from " + runs[0].name,
                    .description = "difference of validation losses against updates",
                    .height = 190,
                    .zero_line = true};
  bool paired = true;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Series s{{}, colour_of(i, runs.size()), true};
    for (const ValidationLine& v : runs[i].validations)
      if (std::isfinite(v.mean) && v.which == 1) s.points.push_back({static_cast<double>(v.step), v.mean, v.error});
    losses.series.push_back(std::move(s));
    if (i == 0) continue;
    const auto all = validation_differences(runs[0], runs[i]);
    paired = paired && detail::all_paired(all);
    differences.series.push_back(detail::series_of(all, colour_of(i, runs.size()), true));
  }
  if (detail::empty(losses)) return "";
  const bool compared = !detail::empty(differences);
  if (!compared) losses.x_label = "updates";
  std::string s =
      "<h2>Validation loss</h2>\n<p class=\"note\">Denoising loss of the averaged weights on fixed samples, times "
      "and noise. Bars: one standard error.</p>\n" +
      key_of(runs) + svg_of(losses);
  if (!compared) return s;
  return s + svg_of(differences) + "<p class=\"note\">Below zero: a lower loss than " + escaped(runs[0].name, 200) +
         ". " +
         (paired ? "Differences are taken sample by sample, so that their errors are those of the differences.</p>\n"
                 : "Losses of single samples are missing: the bars are those of two independent means.</p>\n");
}

/// The logged losses of training and their differences.
inline std::string training_section(std::span<const Run> runs) {
  Chart losses{.y_label = "denoising loss", .description = "training loss against updates"};
  Chart differences{.x_label = "updates",
                    .y_label = runs.empty() ? "" : "difference from " + runs[0].name,
                    .description = "difference of training losses against updates",
                    .height = 170,
                    .zero_line = true};
  bool paired = true;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    Series s{{}, colour_of(i, runs.size()), false};
    for (const TrainingLine& line : runs[i].training)
      if (std::isfinite(line.denoising)) s.points.push_back({static_cast<double>(line.step), line.denoising, 0});
    losses.series.push_back(std::move(s));
    if (i == 0) continue;
    const auto all = training_differences(runs[0], runs[i]);
    paired = paired && detail::all_paired(all);
    differences.series.push_back(detail::series_of(all, colour_of(i, runs.size()), false));
  }
  if (detail::empty(losses)) return "";
  const bool compared = !detail::empty(differences);
  if (!compared) losses.x_label = "updates";
  std::string s = "<h2>Training loss</h2>\n<p class=\"note\">Means since the line of the log before.</p>\n" +
                  key_of(runs) + svg_of(losses);
  if (!compared) return s;
  return s + svg_of(differences) + "<p class=\"note\">" +
         (paired ? "Both runs saw the same samples, times and noise: their fluctuations cancel in the difference.</p>\n"
                 : "Seeds or batches differ or are not known: the differences are not in pairs.</p>\n");
}

}  // namespace sra::report
