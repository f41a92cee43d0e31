// Compares training runs: a table on standard output, a page of HTML, TensorBoard's event files.
// SPDX-License-Identifier: MIT
#include <sra/extra/report.hpp>

#include <cstdio>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr const char* usage =
    "usage: sra_report RUN [RUN...] [-o PAGE.html] [--json] [--tensorboard DIR] [--docs DIR]\n"
    "\n"
    "Reads the folders of runs and prints a table; differences are from the first run, sample by sample where both "
    "runs\n"
    "validated on the same draws.\n"
    "\n"
    "  -o PAGE.html        also writes one self-contained page about them\n"
    "  --json              prints one JSON object a run instead of the table\n"
    "  --tensorboard DIR   also writes event files, one folder a run\n"
    "  --docs DIR          folder or address of the documentation, which the page links to\n";

struct Arguments {
  std::vector<std::filesystem::path> runs{};
  std::string page{}, tensorboard{}, docs{};
  bool json = false, help = false;
};

/// Nothing if the command line cannot be understood.
std::optional<Arguments> parsed(int argc, char** argv) {
  Arguments a;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    const auto value = [&](std::string& to) {
      if (i + 1 < argc) to = argv[++i];
      return !to.empty();
    };
    bool understood = true;
    if (word == "-h" || word == "--help")
      a.help = true;
    else if (word == "--json")
      a.json = true;
    else if (word == "-o")
      understood = value(a.page);
    else if (word == "--tensorboard")
      understood = value(a.tensorboard);
    else if (word == "--docs")
      understood = value(a.docs);
    else if (word.starts_with('-') || word.empty())
      understood = false;
    else
      a.runs.emplace_back(word);
    if (!understood) return {};
  }
  if (a.runs.empty() && !a.help) return {};
  return a;
}

/// A folder as the page's links see it; addresses stay as they are.
std::string linked(const std::string& docs, const std::filesystem::path& page) {
  std::error_code code;
  if (docs.empty() || !std::filesystem::is_directory(docs, code)) return docs;
  const auto folder = std::filesystem::absolute(page, code).parent_path();
  const auto relative = std::filesystem::relative(docs, folder, code);
  return code ? docs : relative.generic_string();
}

}  // namespace

int main(int argc, char** argv) try {
  const auto a = parsed(argc, argv);
  if (!a) return std::fputs(usage, stderr), 2;
  if (a->help) return std::fputs(usage, stdout), 0;
  const auto runs = sra::report::read_runs(a->runs);
  const auto summaries = sra::report::summaries_of(runs);
  std::fputs((a->json ? json_lines_of(summaries) : text_table_of(summaries)).c_str(), stdout);
  for (const auto& run : runs) {
    for (const std::string& note : run.notes) std::fprintf(stderr, "sra_report: %s\n", note.c_str());
    if (run.damaged_lines > 0)
      std::fprintf(stderr, "sra_report: %s: %lld lines of the log could not be read\n", run.name.c_str(),
                   static_cast<long long>(run.damaged_lines));
  }
  if (!a->tensorboard.empty()) sra::report::write_events(a->tensorboard, runs);
  if (!a->page.empty()) sra::report::write_page(a->page, runs, {.docs = linked(a->docs, a->page)});
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
