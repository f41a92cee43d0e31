// The demo: trains a small diffusion transformer twice, with self-representation alignment and without, and compares the two.
// SPDX-License-Identifier: MIT
#include "pictures.hpp"
#include "report.hpp"

#include <sra/extra/report.hpp>

#include <charconv>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <string_view>

namespace {

using namespace demo;

constexpr const char* usage = R"(usage: demo [STEPS | --quick]

Trains on generated shapes with and without alignment, STEPS steps each or as many as take two minutes, and
writes the folder sra-demo: both runs, demo.json, samples.png, samples_over_time.png, look.png, and report.html, a page
about all of it.  --quick: a little of everything, to see that it works.
)";

/// So little of everything that it takes seconds.
Settings quick() {
  return {
      .steps = 8, .validation = 64, .probed = 100, .judged = 40, .judge_steps = 20, .sampler_steps = 2, .profiled = 2};
}

/// What an earlier demo left there would be resumed.
void begin_anew(const Settings& s) {
  for (const char* run : {"sra", "none", "trial"}) std::filesystem::remove_all(s.folder / run);
  std::filesystem::create_directories(s.folder);
}

/// One page about both runs and what was measured, with links into the documentation.
void write_report(const Settings& s) {
  const std::filesystem::path page = s.folder / "report.html";
  std::error_code code;
  const auto docs = std::filesystem::relative(SRA_DOCS, std::filesystem::absolute(page).parent_path(), code);
  sra::report::write_page(page, sra::report::read_runs({s.folder / "none", s.folder / "sra"}),
                          {.docs = docs.generic_string()});
}

int stopped(const Settings& s) {
  std::printf("stopped by a signal; what was trained so far is in %s\n", s.folder.c_str());
  return 130;
}

int run(Settings s) {
  const sra::SignalGuard signals;
  const double start = sra::now_seconds();
  begin_anew(s);
  if (s.steps == 0) s.steps = steps_in(s);
  if (s.steps == 0) return stopped(s);
  Runs runs{s, run_with_alignment(s), run_without_alignment(s)};
  introduce(runs);
  const std::vector<Pictures> over_time = train(runs);
  if (signals.asked() || over_time.size() < 2) return stopped(s);
  validate(runs);
  probe(runs);
  const Pictures samples = judge(runs, over_time.front(), signals);
  if (samples.count() == 0) return stopped(s);
  draw_samples(s.folder / "samples.png", samples);
  draw_over_time(s.folder / "samples_over_time.png", over_time);
  draw_look(s.folder / "look.png", *runs.with, over_time);
  runs.with->profile(s.profiled);
  runs.without->profile(s.profiled);
  runs.record.add("seconds", sra::now_seconds() - start).write(s.folder / "demo.json");
  write_report(s);
  say("written",
      s.folder.string() + "/report.html, look.png, samples.png, samples_over_time.png, demo.json, and both runs");
  say("next",
      "open the report, look at the pictures; then examples/train_shapes.cpp is the program, README.md the way on");
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  const std::string_view word = argc > 1 ? argv[1] : "";
  if (word == "-h" || word == "--help") return std::fputs(usage, stdout), 0;
  Settings settings = word == "--quick" ? quick() : Settings{};
  if (!word.empty() && word != "--quick") {
    const auto read = std::from_chars(word.data(), word.data() + word.size(), settings.steps);
    if (read.ec != std::errc{} || *read.ptr != 0 || settings.steps < 8) return std::fputs(usage, stderr), 2;
  }
  if (argc > 2) return std::fputs(usage, stderr), 2;
  return run(settings);
} catch (const std::exception& error) {
  std::fprintf(stderr, "demo: %s\n", error.what());
  return 1;
}
