// The pictures of a report, within a budget, and what a demo measured beside the logs.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/extra/report/chart.hpp>
#include <sra/extra/report/facts.hpp>
#include <sra/extra/report/run_files.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sra::report {

/// The bytes of files that pictures may still take on a page, of which base64 makes four of three; how many were left out.
struct PictureBudget {
  std::size_t left = 0;
  int omitted = 0;

  /// @param others bytes of the page beside pictures, without 100 kB for what is always there
  explicit PictureBudget(std::size_t others) : left(others < 1'900'000 ? (1'900'000 - others) / 4 * 3 : 0) {}
};

/// Width and height of a PNG file.
inline std::pair<std::uint32_t, std::uint32_t> size_of(const Picture& picture) {
  const auto number = [&](std::size_t at) {
    std::uint32_t n = 0;
    for (std::size_t i = at; i < at + 4; ++i) n = n << 8 | static_cast<std::uint8_t>(picture.bytes[i]);
    return n;
  };
  return {number(16), number(20)};
}

/// A picture with its caption; "" if the budget does not allow it.
inline std::string figure_of(const Picture& picture, PictureBudget& budget) {
  if (picture.bytes.size() > budget.left) return ++budget.omitted, "";
  budget.left -= picture.bytes.size();
  const auto [width, height] = size_of(picture);
  const std::string caption = escaped(picture.caption, 300);
  return text("<figure><img", width < 300 ? " class=\"small\"" : "", " width=\"", width, "\" height=\"", height,
              "\" alt=\"", caption, "\" src=\"data:image/png;base64,", base64(picture.bytes), "\"><figcaption>",
              caption, "</figcaption></figure>\n");
}

/// So many of n things, evenly spread, first and last included.
inline std::vector<std::size_t> spread(std::size_t n, std::size_t most) {
  std::vector<std::size_t> all;
  if (n <= most) most = n;
  for (std::size_t i = 0; i < most; ++i) all.push_back(most == 1 ? n - 1 : i * (n - 1) / (most - 1));
  return all;
}

/// Grids of a run, evenly spread over its time: five, or as many as fit into so many bytes, but at least the last.
inline std::vector<Picture> samples_of(const Run& run, std::size_t bytes, PictureBudget& budget) {
  std::vector<Picture> all, shown;
  for (const std::size_t i : spread(run.samples.size(), 60))  // a few of many, so that they need not all be read
    if (auto p = picture_of(run.samples[i].second, "after " + grouped(run.samples[i].first) + " updates"))
      all.push_back(std::move(*p));
  for (std::size_t most = 5; most > 0; --most) {
    shown.clear();
    std::size_t sum = 0;
    for (const std::size_t i : spread(all.size(), most)) {
      sum += all[i].bytes.size();
      shown.push_back(all[i]);
    }
    if (sum <= bytes) break;
  }
  budget.omitted += static_cast<int>(std::min<std::size_t>(5, all.size()) - shown.size());
  return shown;
}

/// The grids that runs drew, a row a run, by time; each run may take the same part of the budget.
inline std::string samples_section(std::span<const Run> runs, PictureBudget& budget) {
  std::string all;
  const std::size_t share = budget.left / std::max<std::size_t>(1, runs.size());
  for (const Run& run : runs) {
    std::string row;
    for (const Picture& picture : samples_of(run, share, budget)) row += figure_of(picture, budget);
    if (row.empty()) continue;
    if (runs.size() > 1) all += "<h3>" + escaped(run.name, 200) + "</h3>\n";
    all += "<div class=\"strip\">\n" + row + "</div>\n";
  }
  return all.empty() ? "" : "<h2>Samples over time</h2>\n" + all;
}

/// A picture of a known name with a heading; "" if there is none.
inline std::string picture_section(const fs::path& path, const char* heading, const char* caption,
                                   PictureBudget& budget) {
  const auto picture = picture_of(path, caption);
  const std::string figure = picture ? figure_of(*picture, budget) : "";
  return figure.empty() ? "" : text("<h2>", heading, "</h2>\n", figure);
}

namespace detail {

/// Calls f(path, value) for every value of a tree; paths as "sra/probe".
inline void for_each_value(const Json& json, const std::string& path,
                           const std::function<void(const std::string&, const Json&)>& f) {
  f(path, json);
  for (const auto& [key, value] : json.members()) for_each_value(value, path.empty() ? key : path + "/" + key, f);
}

/// The run whose folder's name is a word of a path; of none the second colour after those of the runs.
inline std::size_t run_of(const std::string& path, std::span<const Run> runs) {
  const std::string words = "/" + path + "/";
  for (std::size_t i = 0; i < runs.size(); ++i)
    if (words.find("/" + fs::path(runs[i].name).filename().string() + "/") != std::string::npos) return i;
  return runs.size();
}

/// The numbers of an array that has nothing else.
inline std::vector<double> numbers_of(const Json& array) {
  std::vector<double> all;
  for (const Json& item : array.items()) {
    if (item.kind() != Json::Kind::number) return {};
    all.push_back(item.number());
  }
  return all;
}

}  // namespace detail

/// Accuracy of a linear probe on every block: the arrays of numbers under keys that hold the word "probe"; an array of the same
/// name with _standard_error has the errors.
inline std::string probe_section(const Json& measured, std::span<const Run> runs) {
  constexpr std::string_view error_suffix = "_standard_error";
  std::map<std::string, std::vector<double>> arrays;
  detail::for_each_value(measured, "", [&](const std::string& path, const Json& value) {
    auto numbers = detail::numbers_of(value);
    if (path.find("probe") != std::string::npos && numbers.size() > 1 && numbers.size() <= 1000 && arrays.size() < 32)
      arrays[path] = std::move(numbers);
  });
  Chart chart{.x_label = "block", .y_label = "accuracy of a linear probe", .description = "probe accuracy by block"};
  std::string others;
  int colour = static_cast<int>(runs.size());
  for (const auto& [path, numbers] : arrays) {
    if (path.ends_with(error_suffix)) continue;
    const std::size_t run = detail::run_of(path, runs);
    Series s{{}, run < runs.size() ? colour_of(run, runs.size()) : ++colour % 8, true};
    const auto errors = arrays.find(path + std::string(error_suffix));
    for (std::size_t i = 0; i < numbers.size(); ++i)
      s.points.push_back({static_cast<double>(i + 1), numbers[i],
                          errors != arrays.end() && i < errors->second.size() ? errors->second[i] : 0});
    if (run == runs.size()) others += text("<span class=\"k", s.colour, "\"><i>", escaped(path, 200), "</i></span>");
    chart.series.push_back(std::move(s));
  }
  if (chart.series.empty()) return "";
  return "<h2>Probe by block</h2>\n<p class=\"note\">Share of held-out images whose class a linear map reads off a "
         "block's "
         "mean token.</p>\n" +
         key_of(runs) + (others.empty() ? "" : "<div class=\"key\">" + others + "</div>\n") + svg_of(chart);
}

/// Every single number, word and truth value that a demo measured.
inline std::string measured_section(const Json& measured) {
  constexpr int most = 120;
  int rows = 0;
  std::string table;
  detail::for_each_value(measured, "", [&](const std::string& path, const Json& value) {
    std::string shown;
    if (value.kind() == Json::Kind::number) shown = rounded(value.number(), 5);
    if (value.kind() == Json::Kind::string) shown = escaped(value.string(), 500);
    if (value.kind() == Json::Kind::boolean) shown = value.boolean() ? "yes" : "no";
    if (shown.empty() || ++rows > most) return;
    table += "<tr><th>" + escaped(path, 200) + "</th><td class=\"n\">" + shown + "</td></tr>\n";
  });
  if (table.empty()) return "";
  return "<h2>Measured beside the logs</h2>\n<details><summary>" + std::to_string(std::min(rows, most)) +
         " numbers of demo.json</summary><div class=\"scroll\"><table><tbody>\n" + table +
         "</tbody></table></div></details>\n";
}

}  // namespace sra::report
