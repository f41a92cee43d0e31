// Tests reports of runs: what is read, compared, drawn and escaped, and what becomes of damaged and missing files.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/extra/report.hpp>
#include <sra/io/png.hpp>

#include <boost/test/unit_test.hpp>

#include <cctype>
#include <cmath>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using namespace sra;
using namespace sra::report;
using sra::test::message_of;
using sra::test::TemporaryFolder;
using sra::test::write_text;

namespace {

/// A run with three lines of training and two validations, whose losses are those of `others` plus `more`.
fs::path write_run(const fs::path& folder, double more, const std::string& seed = "3", bool losses = true) {
  for (const char* part : {"validation", "samples"}) fs::create_directories(folder / part);
  std::string log;
  for (index_t step = 10; step <= 30; step += 10) {
    append_json_line(log, {{"step", step},
                           {"denoising", 1.0 / static_cast<double>(step) + more},
                           {"total", 1.0},
                           {"lr", 1e-3},
                           {"seconds_per_step", 0.5},
                           {"images_per_second", 64.0}});
    if (step == 20) continue;
    std::vector<double> both;
    for (int row = 0; row < 2; ++row)
      for (int i = 0; i < 8; ++i) both.push_back(0.1 * i + more * (1 + 0.1 * (i % 2)));
    const std::string name = "validation/step-" + std::to_string(step) + ".npy";
    if (losses) write_npy<double>(folder / name, both, {2, 8});
    const Estimate e = Estimate::of(std::span(both).first(8));
    append_json_line(log, {{"step", step},
                           {"validation", e.mean},
                           {"validation_error", e.standard_error},
                           {"validation_live", e.mean},
                           {"validation_samples", 8},
                           {"validation_seed", 0},
                           {"validation_losses", name}});
  }
  write_text(folder / "log.jsonl", log);
  write_text(folder / "run.json",
             R"({"command": "train --x", "started": "2026-01-31T12:00:00Z", "settings": {"seed": ")" + seed +
                 R"(", "batch": "4", "accumulate": "1"}, "machine": {"processor": "P"},)" +
                 R"("memory": {"parameters": 1048576, "activations": 524288, "gradients": 0}})");
  return folder;
}

/// A PNG of noise, which does not get smaller by packing.
void write_noise(const fs::path& path, index_t side) {
  std::mt19937 random(5);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(side * side * 3));
  for (auto& p : pixels) p = static_cast<std::uint8_t>(random());
  write_png(path, pixels.data(), side, side, 3);
}

std::size_t count_of(const std::string& text, std::string_view what) {
  std::size_t n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++n;
  return n;
}

/// What is wrong with a page's tags; "" if each that opens closes in order.
std::string mistake_in(const std::string& page) {
  const std::set<std::string> alone{"meta", "img", "!doctype"};
  std::vector<std::string> open;
  for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
    const std::size_t end = page.find('>', at);
    if (end == std::string::npos) return "a tag that does not end";
    const std::string tag = page.substr(at + 1, end - at - 1);
    const std::string name = tag.substr(0, tag.find_first_of(" \n/", 1));
    if (count_of(tag, "\"") % 2) return "quotes in <" + tag.substr(0, 80);
    if (tag.ends_with('/') || alone.contains(name)) continue;
    if (tag[0] != '/') {
      open.push_back(name);
    } else {
      if (open.empty() || open.back() != tag.substr(1))
        return "</" + tag.substr(1) + "> where <" + (open.empty() ? "" : open.back());
      open.pop_back();
    }
  }
  return open.empty() ? "" : "<" + open.back() + "> is left open";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(report)

BOOST_AUTO_TEST_CASE(differences_are_in_pairs_where_losses_of_samples_are_there) {
  const TemporaryFolder folder;
  const auto runs = read_runs({write_run(folder / "a", 0), write_run(folder / "b", 0.25)});
  const auto all = validation_differences(runs[0], runs[1]);
  BOOST_REQUIRE(all.size() == 2u);
  const std::vector<double> differences{0.25, 0.275, 0.25, 0.275, 0.25, 0.275, 0.25, 0.275};
  const Estimate expected = Estimate::of(differences);
  for (const Difference& d : all) {
    BOOST_TEST(d.paired);
    BOOST_TEST(std::abs(d.mean - expected.mean) <= 8 * 0x1p-53);  // eight sums of numbers below one
    BOOST_TEST(std::abs(d.error - expected.standard_error) <= 8 * 0x1p-53);
  }
  BOOST_TEST(all[1].step == 30);
  const auto summaries = summaries_of(runs);
  BOOST_TEST(!summaries[0].difference.has_value());
  BOOST_TEST(summaries[1].difference->mean == all[1].mean);
  BOOST_TEST(summaries[1].steps == 30);
  BOOST_TEST(*summaries[1].images_per_second == 64);
}

BOOST_AUTO_TEST_CASE(without_losses_of_samples_errors_are_those_of_two_means) {
  const TemporaryFolder folder;
  const auto runs = read_runs({write_run(folder / "a", 0, "3", false), write_run(folder / "b", 0.25, "3", false)});
  BOOST_TEST(runs[0].notes.size() == 2u);  // the files that the log names are not there
  const auto all = validation_differences(runs[0], runs[1]);
  BOOST_REQUIRE(all.size() == 2u);
  const auto &a = runs[0].validations[1], &b = runs[1].validations[1];
  BOOST_TEST(!all[1].paired);
  BOOST_TEST(all[1].error == std::hypot(a.error, b.error));
  BOOST_TEST(all[1].mean == b.mean - a.mean);
}

BOOST_AUTO_TEST_CASE(other_draws_are_not_compared) {
  const TemporaryFolder folder;
  auto runs = read_runs({write_run(folder / "a", 0), write_run(folder / "b", 0.25), write_run(folder / "c", 0, "4")});
  BOOST_TEST(training_differences(runs[0], runs[1]).at(2).paired);
  BOOST_TEST(!training_differences(runs[0], runs[2]).at(2).paired);
  BOOST_TEST(std::abs(last_training_difference(training_differences(runs[0], runs[1]))->mean - 0.25) <= 8 * 0x1p-53);
  runs[1].validations[0].seed = 1;
  runs[1].validations[1].samples = 9;
  BOOST_TEST(validation_differences(runs[0], runs[1]).empty());
}

BOOST_AUTO_TEST_CASE(damaged_lines_are_passed_over_and_counted) {
  const TemporaryFolder folder;
  const fs::path path = write_run(folder / "a", 0);
  const std::string good = sra::test::read_text(path / "log.jsonl");
  write_text(path / "log.jsonl", "nonsense\n" + good.substr(0, 40) + "\n" + good +
                                     "{\"step\":-1,\"denoising\":1}\n[]\n" + "{\"step\":1.5,\"denoising\":1}\n\n" +
                                     std::string(70'000, 'x') + "\n\xff\n{\"step\":40,");
  const Run run = read_run(path);
  BOOST_TEST(run.damaged_lines == 8);
  BOOST_TEST(run.training.size() == 3u);
  BOOST_TEST(run.validations.size() == 2u);
  const std::string page = page_of(std::span(&run, 1));
  BOOST_TEST(page.find("8 lines of the log could not be read and were passed over") != std::string::npos);
  BOOST_TEST(mistake_in(page) == "");
}

BOOST_AUTO_TEST_CASE(files_of_losses_outside_the_folder_are_not_opened) {
  const TemporaryFolder folder;
  const fs::path path = write_run(folder / "a", 0);
  write_npy<double>(folder / "secret.npy", std::vector<double>(16, 1.0), {2, 8});
  for (const std::string& name : {std::string("../secret.npy"), std::string("validation/../../secret.npy"),
                                  (folder / "secret.npy").string(), std::string("validation/../validation")}) {
    std::string log;
    append_json_line(log, {{"step", 1}, {"validation", 1.0}, {"validation_samples", 8}, {"validation_losses", name}});
    write_text(path / "log.jsonl", log);
    const Run run = read_run(path);
    BOOST_REQUIRE(run.validations.size() == 1u);
    BOOST_TEST(run.validations[0].losses.empty(), name);
    BOOST_TEST(run.damaged_lines == 0);
  }
}

BOOST_AUTO_TEST_CASE(whatever_a_folder_holds_stands_on_the_page_as_text) {
  const TemporaryFolder folder;
  const std::string evil = "<script>alert('x')</script>&\"";
  const fs::path path = write_run(folder / "<script>a", 0), other = write_run(folder / "b\"onload='x", 0.1);
  const std::string quoted = json_string(evil);
  write_text(path / "run.json", "{\"command\":" + quoted + ",\"machine\":{" + quoted + ":" + quoted +
                                    "},\"settings\":{\"model\":" + quoted + "}}");
  write_text(folder / "demo.json", "{" + quoted + ":" + quoted + ",\"probe" + "\":{" + quoted + ":[0.1,0.2]}}");
  Profile{.steps = 1, .seconds = 1, .kernels = {{.name = evil, .calls = 1, .seconds = 0.5}}}.write(path /
                                                                                                   "profile.jsonl");
  write_text(other / "profile.jsonl", evil);
  const auto runs = read_runs({path, other});
  const std::string page = page_of(runs, {.docs = evil});
  BOOST_TEST(count_of(page, "<script") == 0u);
  BOOST_TEST(count_of(page, "onload='") == 0u);
  BOOST_TEST(count_of(page, "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&amp;&quot;") >= 8u);
  BOOST_TEST(mistake_in(page) == "");
  BOOST_TEST(escaped("a\x01\xff\x7f"
                     "é\n") == "a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdé\n");
  BOOST_TEST(escaped(std::string(5000, 'a')).size() == 4000 + std::string("…").size());
}

BOOST_AUTO_TEST_CASE(what_is_missing_is_left_out) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "empty");
  const auto runs = read_runs({folder / "empty"});
  const std::string page = page_of(runs);
  BOOST_TEST(mistake_in(page) == "");
  for (const char* heading :
       {"Validation loss", "Training loss", "Samples over time", "Probe", "Memory", "A look inside"})
    BOOST_TEST(page.find(heading) == std::string::npos, heading);
  BOOST_TEST(page.find("there is no log") != std::string::npos);
  BOOST_TEST(message_of<Error>([&] { read_run(folder / "none"); }).find("expected the folder of a run") !=
             std::string::npos);
  BOOST_TEST(text_table_of(summaries_of(runs)) ==
             "run    updates  training  validation  from the first  images/s\n"
             "empty        0         –           –               –         –\n");
}

BOOST_AUTO_TEST_CASE(everything_that_is_there_has_its_section) {
  const TemporaryFolder folder;
  const std::vector<fs::path> folders{write_run(folder / "none", 0), write_run(folder / "sra", -0.01)};
  for (const char* name :
       {"look.png", "samples_over_time.png", "sra/samples/step-000000010.png", "sra/samples/step-000000030.png"})
    write_noise(folder / name, 8);
  write_text(folder / "demo.json", R"({"coverage": 0.5, "probe": {"none": [0.1, 0.2, 0.3], "sra": [0.2, 0.3, 0.5],
    "sra_standard_error": [0.01, 0.02, 0.03]}})");
  Profile{.steps = 3, .seconds = 0.5, .limits = {1e9, 1e9}, .kernels = {{"linear_forward", 4, 0.25, 1e8, 1e8, 0.1}}}
      .write(folders[1] / "profile.jsonl");
  const auto runs = read_runs(folders);
  const std::string page = page_of(runs, {.docs = "../docs"});
  BOOST_TEST(mistake_in(page) == "");
  for (const char* shown :
       {"sra against none", "A look inside", "Validation loss", "Training loss", "The same noise over time",
        "Samples over time", "after 30 updates", "Probe by block", "Where a step's time goes", "linear layers",
        "Memory", "1.50 MiB in all", "train --x", "href=\"../docs/method.md\"", "in pairs of 8 samples"})
    BOOST_TEST(page.find(shown) != std::string::npos, shown);
  BOOST_TEST(count_of(page, "data:image/png;base64,iVBOR") == 4u);
  BOOST_TEST(count_of(page, "<svg class=\"chart wide") == 5u);  // two losses, their differences, the probe
  const std::string probe =
      page.substr(page.find("Probe by block"), page.find("Where a step's") - page.find("Probe by block"));
  BOOST_TEST(count_of(probe, "<circle") == 2 * 6u);  // wide and narrow
  BOOST_TEST(count_of(probe, "class=\"bar c1\"") == 2 * 3u);
  BOOST_TEST(count_of(page, "<script") == 0u);
  BOOST_TEST(count_of(page, "http") == 0u);
}

BOOST_AUTO_TEST_CASE(a_page_stays_below_two_megabytes) {
  const TemporaryFolder folder;
  std::vector<fs::path> folders;
  for (const char* name : {"a", "b", "c"}) {
    folders.push_back(write_run(folder / name, 0));
    for (const char* step : {"1", "2", "3", "4", "5", "6"})
      write_noise(folders.back() / "samples" / (std::string("step-") + step + ".png"), 300);  // 270 kB each
    std::string log;
    for (index_t i = 1; i <= 20'000; ++i) append_json_line(log, {{"step", i}, {"denoising", 1.0}, {"validation", 0.5}});
    write_text(folders.back() / "log.jsonl", log);
    write_noise(folders.back() / "samples/step-7.png", 700);  // 1.5 MB: not even read
  }
  std::string settings;
  for (int i = 0; i < 5000; ++i) settings += text(i ? "," : "", "\"s", i, "\":\"", std::string(150, 'x'), "\"");
  write_text(folders[0] / "run.json", "{\"settings\":{" + settings + "}}");
  const auto runs = read_runs(folders);
  const std::string page = page_of(runs);
  BOOST_TEST(page.size() < 2'000'000u);
  BOOST_TEST(page.size() > 1'100'000u);
  BOOST_TEST(page.find("12 pictures were left out") != std::string::npos);
  BOOST_TEST(count_of(page, "after 6 updates") == 2 * 3u);  // a caption twice: every run has its last picture
  BOOST_TEST(mistake_in(page) == "");
}

BOOST_AUTO_TEST_CASE(losses_that_are_not_finite_leave_gaps) {
  const TemporaryFolder folder;
  const fs::path path = write_run(folder / "a", 0);
  std::string log;
  append_json_line(log, {{"step", 1}, {"denoising", NAN}, {"total", INFINITY}});
  append_json_line(log, {{"step", 2}, {"denoising", 1e300}, {"validation", NAN}, {"validation_error", NAN}});
  append_json_line(log, {{"step", index_t{1} << 53}, {"denoising", -1e300}});
  write_text(path / "log.jsonl", log);
  const Run run = read_run(path);
  BOOST_TEST(run.damaged_lines == 0);
  const std::string page = page_of(std::span(&run, 1));
  BOOST_TEST(mistake_in(page) == "");
  BOOST_TEST(count_of(page, "nan") == 0u);
  BOOST_TEST(count_of(page, "inf") == 0u);
}

BOOST_AUTO_TEST_CASE(lines_of_json_hold_the_table) {
  const TemporaryFolder folder;
  const auto runs = read_runs({write_run(folder / "a", 0), write_run(folder / "b", 0.25)});
  const std::string lines = json_lines_of(summaries_of(runs));
  const std::size_t end = lines.find('\n');
  const Json first = Json::parse(lines.substr(0, end), "first"), second = Json::parse(lines.substr(end + 1), "second");
  BOOST_TEST(first["run"].string() == (folder / "a").string());
  BOOST_TEST(!first.has("difference"));
  BOOST_TEST(second["steps"].number() == 30);
  BOOST_TEST(second["difference"].number() == validation_differences(runs[0], runs[1])[1].mean);
  BOOST_TEST(second["difference_paired"].boolean());
  BOOST_TEST(second["training_difference_paired"].boolean());
  BOOST_TEST(second["damaged_lines"].number(-1) == 0);
}

BOOST_AUTO_TEST_CASE(runs_are_named_by_what_tells_them_apart) {
  const TemporaryFolder folder;
  for (const char* name : {"x/run", "y/run", "z"}) fs::create_directories(folder / name);
  BOOST_TEST(read_runs({folder / "x/run/", folder / "z"})[0].name == "run");
  BOOST_TEST(read_runs({folder / "x/run", folder / "y/run"})[1].name == (folder / "y/run").string());
}

BOOST_AUTO_TEST_CASE(events_have_the_logs_numbers_and_the_runs_times) {
  const TemporaryFolder folder;
  const auto runs = read_runs({write_run(folder / "a", 0)});
  const double begin = 1769860800;  // date -d 2026-01-31T12:00:00Z +%s
  BOOST_TEST(unix_time("2026-01-31T12:00:00Z") == begin);
  for (const char* bad : {"", "2026-02-30T12:00:00Z", "yesterday, at noon..", "2026-01-31 12:00:00Z"})
    BOOST_TEST(unix_time(bad) == 0, bad);
  EventFile expected(begin);
  double time = begin;
  for (const TrainingLine& line : runs[0].training) {
    time += 10 * 0.5;
    expected.scalar("loss/denoising", line.step, time, static_cast<float>(line.denoising));
    expected.scalar("loss/total", line.step, time, 1.0f);
    expected.scalar("training/learning_rate", line.step, time, 1e-3f);
    expected.scalar("training/images_per_second", line.step, time, 64.0f);
    for (const ValidationLine& v : runs[0].validations) {
      if (v.step != line.step) continue;
      expected.scalar("loss/validation", v.step, time, static_cast<float>(v.mean));
      expected.scalar("loss/validation_live", v.step, time, static_cast<float>(v.live));
    }
  }
  BOOST_TEST((events_of(runs[0]).contents() == expected.contents()));
  fs::create_directories(folder / "other/a");
  write_events(folder / "events", std::vector<Run>{runs[0], read_run(folder / "other/a")});
  BOOST_TEST(fs::exists(folder / "events/a/events.out.tfevents.0.sra"));
}

BOOST_AUTO_TEST_CASE(numbers_are_written_as_people_read_them) {
  BOOST_TEST(with_error(0.21342, 0.00123) == "0.2134 ± 0.0012");
  BOOST_TEST(with_error(-0.00331, 0.00042, true) == "−0.00331 ± 0.00042");
  BOOST_TEST(with_error(0.5, 0, true) == "+0.5000");
  BOOST_TEST(fixed(-0.0001, 2) == "0.00");
  BOOST_TEST(fixed(NAN, 2) == "–");
  BOOST_TEST(grouped(1234567) == "1\u202f234\u202f567");
  BOOST_TEST(grouped(-123) == "-123");
  BOOST_TEST(grouped(100) == "100");
  BOOST_TEST(bytes_text(1536.0 * 1024) == "1.50 MiB");
  BOOST_TEST(seconds_text(0.00321) == "3.21 ms");
  const std::vector<double> wanted{0.2, 0.25, 0.3};
  const auto shown = ticks(0.19, 0.31, 3);
  BOOST_REQUIRE(shown.size() == wanted.size());
  for (std::size_t i = 0; i < shown.size(); ++i) BOOST_TEST(std::abs(shown[i] - wanted[i]) < 1e-12);
  BOOST_TEST(base64("") == "");
  BOOST_TEST(base64("f") == "Zg==");  // RFC 4648, section 10
  BOOST_TEST(base64("fo") == "Zm8=");
  BOOST_TEST(base64("foobar") == "Zm9vYmFy");
  BOOST_TEST(base64("\xff\xfe\xfd") == "//79");
}

BOOST_AUTO_TEST_SUITE_END()
