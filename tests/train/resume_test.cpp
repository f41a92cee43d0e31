// Checks that a run that was stopped, killed or moved to other threads goes on bit for bit, or is refused clearly.
// SPDX-License-Identifier: MIT
#include "../io/file_size_limit.hpp"
#include "runs.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <sstream>
#include <string>
#include <vector>

namespace {

using sra::index_t;
using namespace sra::test;

/// A change of options that a run of `before` must refuse to resume with, naming the change.
void refused(const std::function<void(Options&)>& before, const std::function<void(Options&)>& change,
             const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  Options o = options(folder / "run");
  before(o);
  BOOST_REQUIRE(in_process([&] { train(o, 2); }) == 0);
  const auto files = sra::test::contents_of(folder / "run");
  o = options(folder / "run");
  change(o);
  BOOST_CHECK_EXCEPTION(Trainer{o}, sra::Error, [&](const sra::Error& e) {
    const std::string message = e.what();
    BOOST_TEST_MESSAGE(message);
    for (const auto& word : words)
      BOOST_TEST(message.find(word) != std::string::npos, word << " is not in: " << message);
    BOOST_TEST(std::count(message.begin(), message.end(), '\n') == 1);  // one difference, no other
    return message.find("cannot resume with another configuration") != std::string::npos;
  });
  BOOST_TEST((sra::test::contents_of(folder / "run") == files));
}
void refused(const std::function<void(Options&)>& change, const std::vector<std::string>& words) {
  refused([](Options&) {}, change, words);
}

/// What a trainer says about a run whose newest checkpoint has these bytes.
void damaged(const std::function<std::string(std::string)>& damage, const std::vector<std::string>& words) {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  BOOST_REQUIRE(in_process([&] { train(options(run), 2, [](auto step) { step.save(); }); }) == 0);
  const auto path = newest(run);
  sra::test::write_text(path, damage(sra::test::read_text(path)));
  const auto files = sra::test::contents_of(run);
  std::vector<std::string> all = words;
  all.push_back(path.string());
  BOOST_CHECK_EXCEPTION(Trainer{options(run)}, sra::Error, says(all));
  BOOST_TEST((sra::test::contents_of(run) == files));
  fs::remove(path);  // what a person would do: the one before it serves
  Trainer t{options(run)};
  BOOST_TEST(t.step_number() == 1);
}

/// Replaces one piece of a text by another of the same length.
std::string replaced(std::string bytes, const std::string& from, const std::string& to) {
  const auto at = bytes.find(from);
  if (at == std::string::npos) throw std::runtime_error("nothing to replace");
  return bytes.replace(at, from.size(), to);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(resume)

BOOST_AUTO_TEST_CASE(a_run_stopped_in_mid_epoch_goes_on_with_the_same_bits_on_other_threads) {
  const TemporaryFolder folder;
  uninterrupted(folder / "a");
  const std::string run = folder / "b";
  BOOST_REQUIRE(in_process([&] {
                  train(options(run, 1), 12, [](auto step) {
                    if (step.number() == 5) std::raise(SIGTERM);  // 20 of 13 items seen
                    if (step.number() == 6) throw std::runtime_error("the loop went on after a signal");
                  });
                }) == 0);
  BOOST_TEST(newest_step(run) == 5);
  BOOST_REQUIRE(in_process([&] { train(options(run, 2), 9); }) == 0);
  BOOST_TEST(newest_step(run) == 9);
  BOOST_REQUIRE(in_process([&] { train(options(run, 2), 12); }) == 0);
  same_end(folder / "a", run);
}

BOOST_AUTO_TEST_CASE(lines_logged_after_the_last_checkpoint_are_not_doubled) {
  const TemporaryFolder folder;
  uninterrupted(folder / "a");
  const std::string run = folder / "b";
  const auto interrupted = [&](index_t save, index_t kill) {
    return in_process([&] {
      train(options(run), 12, [&](auto step) {
        if (step.number() == save) step.save();
        if (step.number() == kill) ::kill(::getpid(), SIGKILL);
      });
    });
  };
  BOOST_TEST(interrupted(0, 4) == 128 + SIGKILL);  // before the first checkpoint
  BOOST_TEST(log_of(run).size() == 2u);
  BOOST_TEST(interrupted(7, 10) == 128 + SIGKILL);
  BOOST_TEST(log_of(run).size() == 5u);
  BOOST_REQUIRE(in_process([&] { train(options(run), 12); }) == 0);
  same_end(folder / "a", run);
}

BOOST_AUTO_TEST_CASE(sigterm_and_sigint_from_outside_save_and_end_the_loop) {
  for (const int signal : {SIGTERM, SIGINT}) {
    const TemporaryFolder folder;
    int ready[2];
    BOOST_REQUIRE(::pipe(ready) == 0);
    const pid_t child = sra::test::start([&] {
      train(options(folder / "b", 2), 1'000'000, [&](auto step) {
        if (step.number() == 3 && ::write(ready[1], "x", 1) != 1) throw std::runtime_error("no pipe");
      });
    });
    char byte;
    BOOST_REQUIRE(::read(ready[0], &byte, 1) == 1);
    ::kill(child, signal);
    BOOST_TEST(sra::test::status_of(child) == 0);
    ::close(ready[0]), ::close(ready[1]);
    const index_t stopped = newest_step(folder / "b");
    BOOST_TEST(stopped >= 3);
    BOOST_REQUIRE(in_process([&] { train(options(folder / "b", 3), stopped + 3); }) == 0);
    uninterrupted(folder / "a", stopped + 3);
    same_end(folder / "a", folder / "b");
  }
}

BOOST_AUTO_TEST_CASE(a_run_killed_at_any_time_leaves_a_checkpoint_from_which_it_ends_with_the_same_bits) {
  const TemporaryFolder folder;
  const std::string run = folder / "b";
  const sra::Rng rng(5, sra::Purpose::user, 0, 0);
  index_t resumed = 0, half = 0;
  for (int i = 0; i < 16; ++i) {
    const pid_t child =
        sra::test::start([&] { train(options(run, 1 + i % 2), 100'000, [](auto step) { step.save(); }); });
    ::usleep(static_cast<useconds_t>(2'000 + rng.below(60'000, i)));
    ::kill(child, SIGKILL);
    BOOST_TEST(sra::test::status_of(child) == 128 + SIGKILL);
    const index_t step = newest_step(run);  // throws if it cannot be loaded
    BOOST_TEST(step >= resumed);
    resumed = step;
    if (fs::exists(run))
      for (const auto& entry : fs::directory_iterator(fs::path(run) / "checkpoints"))
        half += entry.path().filename().string().starts_with(".");
  }
  BOOST_TEST_MESSAGE(resumed << " updates saved between 16 kills, " << half << " half-written files seen");
  BOOST_REQUIRE(in_process([&] { train(options(run, 2), resumed + 2); }) == 0);
  for (const auto& entry : fs::directory_iterator(fs::path(run) / "checkpoints"))
    BOOST_TEST(!entry.path().filename().string().starts_with("."));  // the next save removed what the kills left
  uninterrupted(folder / "a", resumed + 2);
  same_end(folder / "a", run);
}

BOOST_AUTO_TEST_CASE(a_damaged_newest_checkpoint_is_named_in_one_sentence_and_left_alone) {
  damaged([](std::string bytes) { return bytes.substr(0, bytes.size() / 2); }, {"past the end"});
  damaged([](std::string bytes) { return bytes.substr(0, 100); }, {"truncated"});
  damaged([](std::string) { return std::string(); }, {"truncated"});
  damaged([](std::string bytes) { return bytes + "x"; }, {"trailing"});
  damaged([](std::string bytes) { return std::string(bytes.size(), '\x55'); }, {"header"});
  damaged([](std::string bytes) { return replaced(std::move(bytes), "\"step\":\"2\"", "\"stop\":\"2\""); },
          {"\"step\""});
  damaged([](std::string bytes) { return replaced(std::move(bytes), "\"step\":\"2\"", "\"step\":\"x\""); },
          {"\"step\"", "\"x\""});
}

BOOST_AUTO_TEST_CASE(another_format_version_is_refused_with_both_numbers) {
  damaged([](std::string bytes) { return replaced(std::move(bytes), "\"format\":\"2\"", "\"format\":\"3\""); },
          {"expected format 2, got 3"});
}

BOOST_AUTO_TEST_CASE(another_configuration_is_refused_with_its_differences_and_files_stay) {
  refused([](Options& o) { o.batch = 8; }, {"batch: the run has \"4\", the program \"8\""});
  refused([](Options& o) { o.accumulate = 4; }, {"accumulate: the run has \"2\", the program \"4\""});
  refused([](Options& o) { o.seed = 12; }, {"seed: the run has \"11\", the program \"12\""});
  refused([](Options& o) { o.align.teacher = sra::Layer{3}; }, {"align", "teacher 2", "teacher 3"});
  refused([](Options& o) { o.align.student = sra::Layer{2}; }, {"align", "student 1", "student 2"});
  refused([](Options& o) { o.condition_dropout = 0.2500001f; }, {"condition_dropout", "0.25\"", "0.2500001"});
  refused([](Options& o) { o.ema = {0.9999, 0.5}; }, {"ema", "0.75", "0.5"});
  refused([](Options& o) { o.ema = {0.99999999, 0.75}; }, {"ema", "0.9999 ", "0.99999999"});
  refused([](Options& o) { o.clip = 2; }, {"adamw", "clip 1", "clip 2"});
  refused([](Options& o) { o.objective.time = sra::TimeDistribution::lognormal; },
          {"objective", "uniform", "lognormal"});
  refused([](Options& o) { o.frozen = {"blocks.0.*"}; }, {"frozen", "nothing", "blocks.0.*"});
  refused([](Options& o) { o.frozen = {"blocks.0.*"}; }, [](Options&) {}, {"frozen", "blocks.0.*", "nothing"});
}

BOOST_AUTO_TEST_CASE(all_differences_are_listed_together_and_another_model_is_one) {
  const TemporaryFolder folder;
  BOOST_REQUIRE(in_process([&] { train(options(folder / "run"), 2); }) == 0);
  const auto files = sra::test::contents_of(folder / "run");
  constexpr sra::DiTConfig deeper{
      .height = 8, .width = 8, .channels = 3, .patch = 4, .hidden = 16, .depth = 4, .heads = 2};
  using Deeper = sra::Trainer<sra::SiT<deeper, sra::Classes<3>>, Align>;
  Deeper::Options o{.run = folder / "run", .batch = 4, .accumulate = 2, .seed = 9};
  o.align = options("").align;
  BOOST_CHECK_EXCEPTION(Deeper{o}, sra::Error, [](const sra::Error& e) {
    const std::string message = e.what();
    const auto has = [&](const char* word) { return message.find(word) != std::string::npos; };
    return has("model: ") && has("depth 3") && has("depth 4") && has("seed: ") && has("condition_dropout: ") &&
           has("ema: ") && !has("batch: ");
  });
  BOOST_TEST((sra::test::contents_of(folder / "run") == files));
}

BOOST_AUTO_TEST_CASE(the_newest_checkpoints_stay_and_the_last_step_is_always_saved) {
  for (const int keep : {1, 3, 0}) {
    const TemporaryFolder folder;
    Options o = options(folder / "run");
    o.keep = keep;
    BOOST_REQUIRE(in_process([&] {
                    train(o, 11, [](auto step) {
                      if (step.number() % 2 == 0) step.save();
                    });
                  }) == 0);
    std::vector<std::string> names, expected;
    for (const auto& path : checkpoints(o.run)) names.push_back(path.filename().string());
    for (const int step : {2, 4, 6, 8, 10, 11}) expected.push_back(sra::checkpoint_name(step));
    if (keep > 0) expected.erase(expected.begin(), expected.end() - keep);
    BOOST_TEST(names == expected, boost::test_tools::per_element());
  }
}

BOOST_AUTO_TEST_CASE(a_finished_run_neither_trains_nor_writes_when_it_is_started_again) {
  const TemporaryFolder folder;
  BOOST_REQUIRE(in_process([&] { train(options(folder / "run"), 4); }) == 0);
  const auto files = sra::test::contents_of(folder / "run");
  BOOST_REQUIRE(in_process([&] {
                  train(options(folder / "run"), 4, [](auto) { throw std::runtime_error("a step too many"); });
                }) == 0);
  BOOST_TEST((sra::test::contents_of(folder / "run") == files));
}

BOOST_AUTO_TEST_CASE(a_full_disk_while_saving_is_an_error_and_the_old_checkpoint_survives) {
  const TemporaryFolder folder;
  const std::string run = folder / "run";
  BOOST_REQUIRE(in_process([&] { train(options(run), 3); }) == 0);
  const auto before = sra::test::contents_of(run + "/checkpoints");
  {
    Trainer t{options(run)};
    const sra::test::Samples<> samples(4);
    t.accumulated_step([&](index_t k) { return samples.batch(2 * k, 2); });
    for (const rlim_t room : {rlim_t{0}, rlim_t{1'000}, rlim_t{100'000}}) {
      std::string message;
      {
        const sra::test::FileSizeLimit limit(room);
        try {
          t.save();
        } catch (const sra::Error& e) {
          message = e.what();
        }
      }
      BOOST_TEST_MESSAGE(message);
      BOOST_TEST(message.find(sra::checkpoint_name(4)) != std::string::npos);
      BOOST_TEST(message.find("too large") != std::string::npos);
      BOOST_TEST((sra::test::contents_of(run + "/checkpoints") == before));
      BOOST_TEST(t.saved_step() == 3);
    }
    t.save();
    BOOST_TEST(t.saved_step() == 4);
  }
  BOOST_TEST(newest_step(run) == 4);
}

BOOST_AUTO_TEST_CASE(a_run_that_is_a_file_is_named) {
  const TemporaryFolder folder;
  sra::test::write_text(folder / "file", "x");
  BOOST_CHECK_EXCEPTION(Trainer{options(folder / "file")}, sra::Error,
                        says({folder / "file", "cannot read the folder"}));
}

BOOST_AUTO_TEST_SUITE_END()
