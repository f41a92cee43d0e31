// The head of a report: what came out, and what was run where.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/extra/report/comparison.hpp>
#include <sra/extra/report/markup.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sra::report {

/// The colour of a run: the first of several, from which the others' differences are, is grey.
inline int colour_of(std::size_t run, std::size_t runs) { return runs == 1 ? 1 : static_cast<int>(run % 8); }

/// "sra against none".
inline std::string title_of(std::span<const Run> runs) {
  if (runs.size() > 4) return text(runs.size() - 1, " runs against ", escaped(runs[0].name, 200));
  std::string s;
  for (std::size_t i = runs.size() == 1 ? 0 : 1; i < runs.size(); ++i)
    s += (s.empty() ? "" : i + 1 == runs.size() ? " and " : ", ") + escaped(runs[i].name, 200);
  return runs.size() == 1 ? s : s + " against " + escaped(runs[0].name, 200);
}

/// The names of the runs in their colours.
inline std::string key_of(std::span<const Run> runs) {
  if (runs.size() < 2) return "";
  std::string s = "<div class=\"key\">";
  for (std::size_t i = 0; i < runs.size(); ++i)
    s += text("<span class=\"k", colour_of(i, runs.size()), "\"><i>", escaped(runs[i].name, 200), "</i></span>");
  return s + "</div>\n";
}

/// What a difference rests on.
inline std::string basis_of(const Summary& s) {
  if (!s.difference)
    return s.training_difference && s.training_difference->paired ? "in pairs of lines" : "not in pairs";
  if (!s.difference->paired) return "not in pairs";
  return "in pairs of " + grouped(static_cast<index_t>(s.validation->losses.size())) + " samples";
}

/// One sentence for each run about its loss, with its difference from the first.
inline std::string result_of(std::span<const Summary> all) {
  std::string s;
  for (std::size_t i = all.size() == 1 ? 0 : 1; i < std::min<std::size_t>(all.size(), 5); ++i) {
    const Summary& run = all[i];
    const auto& d = run.difference ? run.difference : run.training_difference;
    s += "<p class=\"result\"><b>" + escaped(run.run, 200) + "</b>: ";
    if (run.validation)
      s += "validation loss <b>" + with_error(run.validation->mean, run.validation->error) + "</b>";
    else
      s += "training loss <b>" + (run.training ? rounded(*run.training, 4) : "–") + "</b>";
    s += " after " + grouped(run.steps) + " updates";
    if (d)
      s += ", <b>" + with_error(d->mean, d->error, true) + "</b> from " + escaped(all[0].run, 200) +
           " <span class=\"soft\">(" + basis_of(run) + ")</span>";
    s += ".</p>\n";
  }
  return s;
}

/// A row a run; columns that no run fills are left out, and narrow pages show what matters most.
inline std::string summary_table(std::span<const Summary> all) {
  const bool validated = std::any_of(all.begin(), all.end(), [](const Summary& s) { return s.validation.has_value(); });
  const char* const training = validated ? "n opt" : "n";
  std::string s = "<div class=\"scroll\"><table class=\"summary\"><thead><tr>";
  const auto head = [&](const char* kind, const char* name) { s += text("<th class=\"", kind, "\">", name, "</th>"); };
  const auto cell = [&](const char* kind, const std::string& value) {
    s += text("<td class=\"", kind, "\">", value, "</td>");
  };
  head("", "run"), head("n opt", "updates"), head(training, "training loss");
  if (validated) head("n", "validation loss");
  if (all.size() > 1) head("n", "difference");
  head("n opt", "images/s");
  s += "</tr></thead><tbody>\n";
  for (std::size_t i = 0; i < all.size(); ++i) {
    const Summary& r = all[i];
    const auto& d = r.difference ? r.difference : r.training_difference;
    s += "<tr>";
    cell("", text("<span class=\"swatch k", colour_of(i, all.size()), "\"></span>", escaped(r.run, 200)));
    cell("n opt", grouped(r.steps));
    cell(training, r.training ? rounded(*r.training, 4) : "–");
    if (validated) cell("n", r.validation ? with_error(r.validation->mean, r.validation->error) : "–");
    if (all.size() > 1) cell("n", d ? with_error(d->mean, d->error, true) : "–");
    cell("n opt", r.images_per_second ? rounded(*r.images_per_second) : "–");
    s += "</tr>\n";
  }
  return s + "</tbody></table></div>\n";
}

/// Names and values of a run's record, in the order of the page, at most 60.
inline std::vector<std::pair<std::string, std::string>> facts_of(const Run& run) {
  std::vector<std::pair<std::string, std::string>> facts;
  const auto add = [&](const std::string& name, const std::string& value) {
    if (!value.empty() && facts.size() < 60) facts.emplace_back(name, value);
  };
  for (const char* name : {"command", "commit", "started", "version"}) add(name, run.record[name].string());
  for (const auto& [name, value] : run.record["machine"].members()) add(name, value.string());
  for (const auto& [name, value] : run.record["settings"].members()) add(name, value.string());
  return facts;
}

/// A row a fact: first those in which runs differ, a column each, then what all share.
inline std::string facts_table(std::span<const Run> runs) {
  std::vector<std::string> names;
  std::map<std::string, std::vector<std::string>> values;
  for (std::size_t i = 0; i < runs.size(); ++i)
    for (const auto& [name, value] : facts_of(runs[i])) {
      auto& row = values[name];
      if (row.empty()) names.push_back(name), row.resize(runs.size());
      row[i] = value;
    }
  const auto code = [](const std::string& name, const std::string& value) {
    const bool literal = name == "command" || name == "commit";
    return literal ? "<code>" + escaped(value) + "</code>" : escaped(value);
  };
  std::string different, shared;
  for (const std::string& name : names) {
    const auto& row = values[name];
    const bool same = std::all_of(row.begin(), row.end(), [&](const std::string& v) { return v == row[0]; });
    std::string& s = same ? shared : different;
    s += "<tr><th>" + escaped(name, 100) + "</th>";
    if (same)
      s += text("<td colspan=\"", runs.size(), "\">", code(name, row[0]), "</td>");
    else
      for (const std::string& v : row) s += "<td>" + code(name, v) + "</td>";
    s += "</tr>\n";
  }
  if (names.empty()) return "";
  std::string head;
  if (!different.empty()) {
    head = "<thead><tr><th></th>";
    for (std::size_t i = 0; i < runs.size(); ++i)
      head += text("<th><span class=\"swatch k", colour_of(i, runs.size()), "\"></span>", escaped(runs[i].name, 200),
                   "</th>");
    head += "</tr></thead>";
  }
  return "<div class=\"scroll\"><table>" + head + "<tbody>\n" + different + shared + "</tbody></table></div>\n";
}

}  // namespace sra::report
