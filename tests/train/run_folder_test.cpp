// Checks what a run's folder may hold beside its checkpoints, and that data and locale of the program do not spoil it.
// SPDX-License-Identifier: MIT
#include "runs.hpp"

#include <sra/io/json_tree.hpp>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <locale>

using namespace sra::test;
using sra::index_t;

BOOST_AUTO_TEST_SUITE(run_folder)

BOOST_AUTO_TEST_CASE(files_that_are_no_checkpoints_are_passed_over) {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  BOOST_REQUIRE(in_process([&] { train(options(run), 2); }) == 0);
  const fs::path kept = newest(run);
  for (const char* name :
       {"step-best.safetensors", "step-.safetensors", "step-0000000099.safetensors", "step-9.safetensors"})
    sra::test::write_text(fs::path(run) / "checkpoints" / name, "x");
  BOOST_TEST(newest(run) == kept);
  BOOST_TEST(Trainer{options(run)}.step_number() == 2);
}

BOOST_AUTO_TEST_CASE(steps_of_ten_digits_come_after_those_of_nine) {
  const TemporaryFolder folder;
  for (const index_t step : {1'000'000'000, 999'999'999, 7})
    sra::test::write_text(folder / sra::checkpoint_name(step), "x");
  const auto all = sra::checkpoints_in(folder.path());
  BOOST_REQUIRE(all.size() == 3u);
  BOOST_TEST(all.back().filename().string() == sra::checkpoint_name(1'000'000'000));
}

BOOST_AUTO_TEST_CASE(a_folder_of_checkpoints_that_cannot_be_read_is_named) {
  const TemporaryFolder folder;
  fs::create_directories(folder / "run");
  sra::test::write_text(folder / "run/checkpoints", "x");
  BOOST_CHECK_EXCEPTION(Trainer{options(folder / "run")}, sra::Error, says({"checkpoints", "cannot read the folder"}));
}

BOOST_AUTO_TEST_CASE(data_of_another_size_are_refused_with_both_numbers) {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  BOOST_REQUIRE(in_process([&] { train(options(run), 2); }) == 0);
  Trainer t{options(run)};
  const sra::test::Items other{.items = 14};
  BOOST_CHECK_EXCEPTION(t.train(other, 4), sra::Error, says({"other data", "13 items", "got 14"}));
}

BOOST_AUTO_TEST_CASE(the_locale_of_the_program_changes_no_file) {
  struct Grouping : std::numpunct<char> {
    char do_thousands_sep() const override { return ','; }
    std::string do_grouping() const override { return "\3"; }
    char do_decimal_point() const override { return '!'; }
  };
  const TemporaryFolder folder;
  BOOST_REQUIRE(in_process([&] { train(options(folder / "a"), 2); }) == 0);
  BOOST_REQUIRE(in_process([&] {
                  std::locale::global(std::locale(std::locale::classic(), new Grouping));
                  train(options(folder / "b"), 1);
                  train(options(folder / "b"), 2);
                }) == 0);
  same_end(folder / "a", folder / "b");
}

BOOST_AUTO_TEST_CASE(run_json_says_how_the_run_began_and_stays_on_resume) {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  const auto trained = [&](int threads) {
    BOOST_REQUIRE(in_process([&] { train(options(run, threads), threads); }) == 0);
    return read_text(fs::path(run) / "run.json");
  };
  const std::string written = trained(1);
  const sra::Json json = sra::Json::parse(written, "run.json");
  BOOST_TEST(json["command"].string() == sra::command_line());
  BOOST_TEST(json["version"].string() == sra::text(SRA_VERSION_MAJOR, ".", SRA_VERSION_MINOR, ".", SRA_VERSION_PATCH));
  BOOST_TEST(json["started"].string().size() == std::string("2026-01-31T12:00:00Z").size());
  BOOST_TEST(json["settings"]["seed"].string() == "11");
  BOOST_TEST(json["settings"]["model"].string() == sra::summary<Tiny>());
  BOOST_TEST(json["settings"]["products in"].string() == "float");
  BOOST_TEST(json["machine"]["threads"].string() == "1");
  BOOST_TEST(json["machine"]["instruction set"].string() == to_string(sra::backend::available_isas().back()));
  const auto plan = Trainer{options("")}.memory_plan();
  BOOST_TEST(json["memory"]["activations"].number() == static_cast<double>(plan.activations));
  BOOST_TEST(json["memory"]["parameters"].number() == static_cast<double>(plan.parameters));
  BOOST_TEST(trained(2) == written);
}

BOOST_AUTO_TEST_CASE(arguments_are_quoted_as_a_shell_needs_it) {
  for (const std::string argument : {"plain-1.5/x=y", "", "two words", "it's", "$HOME `ls` \"x\" \\ *", "a\nb", "é"}) {
    const TemporaryFolder folder;
    const std::string command = "printf %s " + sra::shell_quoted(argument) + " > " + (folder / "out").string();
    BOOST_REQUIRE(std::system(command.c_str()) == 0);
    BOOST_TEST(read_text(folder / "out") == argument);
  }
  BOOST_TEST(sra::shell_quoted("plain-1.5/x=y") == "plain-1.5/x=y");
}

BOOST_AUTO_TEST_CASE(dates_are_those_of_the_calendar) {
  using namespace std::chrono;
  BOOST_TEST(sra::date_text(system_clock::time_point(seconds(0))) == "1970-01-01T00:00:00Z");
  BOOST_TEST(sra::date_text(system_clock::time_point(seconds(951827696))) == "2000-02-29T12:34:56Z");
}

BOOST_AUTO_TEST_CASE(losses_of_validations_beyond_the_newest_checkpoint_are_removed) {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  BOOST_REQUIRE(in_process([&] { train(options(run), 2); }) == 0);
  const fs::path losses = fs::path(run) / "validation";
  for (const char* name : {"step-000000002.npy", "step-000000002-2.npy", "step-000000003.npy", "step-1000000000-2.npy",
                           "step-3.txt", "mine.npy"})
    write_text(losses / name, "x");
  Trainer{options(run)};
  std::vector<std::string> left;
  for (const auto& entry : fs::directory_iterator(losses)) left.push_back(entry.path().filename().string());
  std::sort(left.begin(), left.end());
  const std::vector<std::string> expected{"mine.npy", "step-000000002-2.npy", "step-000000002.npy", "step-3.txt"};
  BOOST_TEST(left == expected, boost::test_tools::per_element());
  BOOST_TEST(sra::validation_name(7, 1) == "validation/step-000000007.npy");
  BOOST_TEST(sra::validation_name(7, 2) == "validation/step-000000007-2.npy");
}

BOOST_AUTO_TEST_SUITE_END()
