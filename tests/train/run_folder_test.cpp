// Checks what a run's folder may hold beside its checkpoints, and that data and locale of the program do not spoil it.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE run_folder
#define BOOST_TEST_DYN_LINK
#include "runs.hpp"

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

BOOST_AUTO_TEST_SUITE_END()
