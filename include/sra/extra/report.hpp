// Reports of training runs: one page of HTML, a table, and TensorBoard's event files.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/extra/report/comparison.hpp>
#include <sra/extra/report/costs.hpp>
#include <sra/extra/report/curves.hpp>
#include <sra/extra/report/events.hpp>
#include <sra/extra/report/facts.hpp>
#include <sra/extra/report/pictures.hpp>
#include <sra/extra/report/run_files.hpp>
#include <sra/extra/report/style.hpp>
#include <sra/io/file.hpp>
#include <sra/io/json_lines.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace sra::report {

/// What a page may be told.
struct PageOptions {
  std::string docs{};  ///< address or folder of the documentation, relative to the page; "": nothing is linked
  /// Folder with demo.json, look.png, samples.png and samples_over_time.png; empty: the one that all runs lie in, if any does
  fs::path beside{};
};

namespace detail {

/// The folder in which all runs lie, or nothing.
inline fs::path common_parent(std::span<const Run> runs) {
  std::error_code code;
  const auto parent = [&](const Run& run) { return fs::weakly_canonical(run.folder, code).parent_path(); };
  for (const Run& run : runs)
    if (parent(run) != parent(runs.front())) return {};
  return runs.empty() ? fs::path() : parent(runs.front());
}

inline std::string notes_section(std::span<const Run> runs, std::vector<std::string> notes,
                                 const PictureBudget& budget) {
  for (const Run& run : runs) {
    if (run.damaged_lines > 0)
      notes.push_back(text(run.name, ": ", run.damaged_lines, run.damaged_lines == 1 ? " line" : " lines",
                           " of the log could not be read and ", run.damaged_lines == 1 ? "was" : "were",
                           " passed over"));
    notes.insert(notes.end(), run.notes.begin(), run.notes.end());
  }
  if (budget.omitted > 0)
    notes.push_back(text(budget.omitted, " pictures were left out, so that the page stays below 2 MB"));
  std::string s;
  for (std::size_t i = 0; i < notes.size() && i < 50; ++i) s += "<li>" + escaped(notes[i], 500) + "</li>\n";
  return s.empty() ? "" : "<h2>Not in this report</h2>\n<ul class=\"note\">\n" + s + "</ul>\n";
}

inline std::string docs_line(const std::string& docs) {
  if (docs.empty()) return "How runs are made and what the numbers mean: docs/ of sra.";
  const std::string base = escaped(docs, 1000) + (docs.ends_with('/') ? "" : "/");
  const auto link = [&](const char* page, const char* what) {
    return text("<a href=\"", base, page, "\">", what, "</a>");
  };
  return "Documentation: " + link("method.md", "the method in pictures") + ", " +
         link("performance.md", "where the time goes") + ", " + link("formats.md", "the files of a run") + ".";
}

/// What section(run, named) says of every run, once if it is the same of all, under a heading and a note.
template <class Section>
std::string for_runs(std::span<const Run> runs, const char* heading, const char* note, Section section) {
  const std::string first = section(runs.front(), false);
  const bool same = std::all_of(runs.begin(), runs.end(), [&](const Run& r) { return section(r, false) == first; });
  std::string s = same ? first : "";
  for (const Run& run : runs)
    if (!same) s += section(run, true);
  return s.empty() ? "" : text("<h2>", heading, "</h2>\n<p class=\"note\">", note, "</p>\n", s);
}

}  // namespace detail

/// A page about some runs: self-contained, without scripts; below 2 MB for up to 40 runs, since pictures take what is left.
/// Differences are from the first run.  @param runs at least one
inline std::string page_of(std::span<const Run> runs, const PageOptions& options = {}) {
  if (runs.empty()) throw Error("report: expected at least one run, got none");
  const auto summaries = summaries_of(runs);
  const fs::path beside = options.beside.empty() ? detail::common_parent(runs) : options.beside;
  std::vector<std::string> notes;
  const Json measured = json_of(beside / "demo.json", notes);
  const std::string title = title_of(runs), curves = validation_section(runs) + training_section(runs);
  std::string numbers = probe_section(measured, runs);
  numbers += detail::for_runs(runs, "Where a step's time goes",
                              "Solid: what the machine needs at least, at its limits; pale: the rest. Kernels whose "
                              "data lie in caches may be above 100 % of their limit.",
                              time_section);
  numbers += detail::for_runs(runs, "Memory", "Planned before anything of it was allocated.", memory_section);
  if (const std::string facts = facts_table(runs); !facts.empty()) numbers += "<h2>Runs</h2>\n" + facts;
  numbers += measured_section(measured);
  PictureBudget budget(curves.size() + numbers.size());
  const std::string look =
      picture_section(beside / "look.png", "A look inside",
                      "From left to right: the noised input, the student's block and the teacher's "
                      "in one basis of colours, the sample at three times of training.",
                      budget);
  const std::string samples = picture_section(beside / "samples_over_time.png", "The same noise over time",
                                              "A row a class, a column a time.", budget) +
                              samples_section(runs, budget);
  return text("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>", title,
              "</title>\n<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<style>", style,
              "</style></head><body><main>\n<p class=\"kicker\">Training report</p>\n<h1>", title, "</h1>\n",
              result_of(summaries), summary_table(summaries), look, curves, samples, numbers,
              detail::notes_section(runs, notes, budget), "<footer>Written by sra ", SRA_VERSION_MAJOR, ".",
              SRA_VERSION_MINOR, ".", SRA_VERSION_PATCH, ". ", detail::docs_line(options.docs),
              "</footer>\n</main></body></html>\n");
}

/// Writes a page, whole or not at all.
inline void write_page(const fs::path& path, std::span<const Run> runs, const PageOptions& options = {}) {
  const std::string page = page_of(runs, options);
  atomic_write(path, [&](FileWriter& out) { out.write(page); });
}

/// One JSON object a run, one a line; what is not known is left out.
inline std::string json_lines_of(std::span<const Summary> all) {
  std::string s;
  for (const Summary& r : all) {
    std::vector<JsonField> fields{{"run", r.folder}, {"steps", r.steps}};
    const auto add = [&](const char* key, const auto& value) {
      if (value) fields.push_back({key, *value});
    };
    add("training", r.training);
    if (r.validation) {
      fields.push_back({"validation", r.validation->mean});
      fields.push_back({"validation_error", r.validation->error});
      fields.push_back({"validation_live", r.validation->live});
    }
    const auto add_difference = [&](const char* key, const char* error, const char* paired, const auto& d) {
      if (!d) return;
      fields.push_back({key, d->mean});
      fields.push_back({error, d->error});
      fields.push_back({paired, d->paired});
    };
    add_difference("difference", "difference_error", "difference_paired", r.difference);
    add_difference("training_difference", "training_difference_error", "training_difference_paired",
                   r.training_difference);
    add("seconds_per_step", r.seconds_per_step);
    add("images_per_second", r.images_per_second);
    fields.push_back({"damaged_lines", r.damaged_lines});
    append_json_line(s, fields);
  }
  return s;
}

/// The same for people: columns of text.
inline std::string text_table_of(std::span<const Summary> all) {
  std::vector<std::vector<std::string>> rows{
      {"run", "updates", "training", "validation", "from the first", "images/s"}};
  for (const Summary& r : all) {
    const auto& d = r.difference ? r.difference : r.training_difference;
    rows.push_back({r.run, std::to_string(r.steps), r.training ? rounded(*r.training, 4) : "–",
                    r.validation ? with_error(r.validation->mean, r.validation->error) : "–",
                    d ? with_error(d->mean, d->error, true) + (d->paired ? "" : " (not paired)") : "–",
                    r.images_per_second ? rounded(*r.images_per_second) : "–"});
  }
  const auto width = [](const std::string& s) {  // characters, not bytes
    return static_cast<std::size_t>(std::count_if(s.begin(), s.end(), [](char c) { return (c & 0xc0) != 0x80; }));
  };
  std::vector<std::size_t> widths(rows[0].size());
  for (const auto& row : rows)
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width(row[i]));
  std::string s;
  for (const auto& row : rows) {
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::string space(widths[i] - width(row[i]), ' ');
      s += i == 0 ? row[i] + space : "  " + space + row[i];
    }
    s += '\n';
  }
  return s;
}

}  // namespace sra::report
