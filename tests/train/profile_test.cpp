// Tests the profile of training steps: what is counted, the limits, and that training does not notice it.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "runs.hpp"

#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using namespace sra::test;
using sra::Cost;
using sra::index_t;
using sra::KernelProfile;
using sra::Limits;
using sra::Profile;

namespace {

const Items items;

/// Counts launches, bytes and FLOPs by name.
struct Counted : sra::LaunchObserver {
  std::map<std::string, KernelProfile> kernels;
  void before(const char* kernel, const Cost& cost) override {
    KernelProfile& k = kernels[kernel];
    k.calls += 1, k.bytes += cost.bytes, k.flops += cost.flops;
  }
  void after(const char*) override {}
};

/// Has a label that is none in the tenth sample of a run with seed 11: after two updates of four samples.
struct Broken : Items {
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    Items::read(i, rng, out);
    if (std::cmp_equal(i, sra::shuffled(11, 0, 9, 13))) out.label = 7;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(training_goes_on_bit_for_bit_as_if_it_had_not_been_called) {
  const TemporaryFolder folder;
  const auto run = [&](const std::string& name, bool profiled) {
    Trainer t{options(folder / name)};
    const auto profile = [&] {
      const auto before = state_of(t);
      const double loss = t.last().losses.total;
      if (profiled) t.profile(items, 2, Limits{});
      BOOST_TEST((state_of(t) == before));
      BOOST_TEST(t.last().losses.total == loss);
    };
    profile();
    for (auto step : t.train(items, 6)) {
      if (step.number() % 2 == 0) step.log();
      if (step.number() == 3) profile();
    }
    return state_of(t);
  };
  BOOST_TEST((run("profiled", true) == run("plain", false)));
}

BOOST_AUTO_TEST_CASE(every_launch_of_a_step_is_counted_once) {
  Trainer t{options("")};
  const Profile profile = t.profile(items, 3, Limits{});
  Counted counted;
  t.engine().workspace().observer = &counted;
  sra::Prefetcher<Items> source(items, {.seed = 11, .batch = 2});
  t.accumulated_step([&](index_t k) { return sra::micro_batch<Tiny>(source.get(k)); });
  t.engine().workspace().observer = nullptr;
  BOOST_TEST(profile.steps == 3);
  BOOST_REQUIRE(profile.kernels.size() == counted.kernels.size());
  double last = profile.kernels.front().seconds;
  for (const KernelProfile& k : profile.kernels) {
    const KernelProfile& expected = counted.kernels.at(k.name);
    BOOST_TEST(k.calls == expected.calls, k.name);
    BOOST_TEST(k.bytes == expected.bytes, k.name);
    BOOST_TEST(k.flops == expected.flops, k.name);
    BOOST_TEST(k.seconds > 0, k.name);
    BOOST_TEST(k.seconds <= last, k.name << ": expected the longest first");
    BOOST_TEST(k.limit == 0, k.name);  // of limits that are not known
    last = k.seconds;
  }
  BOOST_TEST(profile.in_kernels() <= profile.seconds);
}

BOOST_AUTO_TEST_CASE(limit_is_the_sum_of_what_every_launch_takes_at_best) {
  sra::Cpu cpu({.threads = 1});
  sra::KernelTimes times(cpu);
  const auto launch = [&](const char* name, double bytes, double flops) {
    times.before(name, {bytes, flops});
    times.after(name);
  };
  for (int pass = 0; pass < 3; ++pass) {
    launch("a", 100, 0);   // 10 s of moving
    launch("a", 10, 200);  // 50 s of computing
    if (pass < 2) launch("b", 40, 0);
    times.end_pass(pass > 0);
  }
  BOOST_TEST(times.launches() == 2u);
  BOOST_TEST(times.passes() == 2);
  const Profile profile = profile_of(times, 6, {10, 4});
  BOOST_TEST(profile.seconds == 3);
  BOOST_REQUIRE(profile.kernels.size() == 2u);
  std::map<std::string, KernelProfile> by_name;
  for (const KernelProfile& k : profile.kernels) by_name[k.name] = k;
  BOOST_TEST(by_name["a"].limit == 60);
  BOOST_TEST(by_name["a"].calls == 2);
  BOOST_TEST(by_name["a"].bytes == 110);
  BOOST_TEST(by_name["b"].limit == 2);  // half a call a step
  BOOST_TEST(by_name["b"].calls == 0.5);
  BOOST_TEST((KernelProfile{.seconds = 4, .limit = 3}).of_limit() == 0.75);
}

BOOST_AUTO_TEST_CASE(limits_are_measured_unless_given) {
  Trainer t{options("")};
  const Profile profile = t.profile(items, 1);
  BOOST_TEST(profile.limits.bytes_per_second > 0);
  BOOST_TEST(profile.limits.flops_per_second > 0);
  for (const KernelProfile& k : profile.kernels) BOOST_TEST(k.limit > 0, k.name);
  const Limits given{3, 5};
  BOOST_TEST(t.profile(items, 1, given).limits.bytes_per_second == 3);
}

BOOST_AUTO_TEST_CASE(every_instruction_set_has_a_peak_in_every_type) {
  const auto computes = [](sra::backend::PeakLoop loop) {
    loop.run(3);
    return loop.flops;
  };
  for (const auto isa : sra::backend::available_isas()) {
    const double single = computes(sra::backend::peak_loop<float>(isa));
    BOOST_TEST(single > 0, to_string(isa));
    BOOST_TEST(computes(sra::backend::peak_loop<double>(isa)) == single / 2, to_string(isa));
    BOOST_TEST(computes(sra::backend::peak_loop<sra::bf16>(isa)) >= single, to_string(isa));
  }
}

BOOST_AUTO_TEST_CASE(an_error_leaves_training_and_observer_as_they_were) {
  Trainer t{options("")};
  Counted watching;
  t.engine().workspace().observer = &watching;
  const auto before = state_of(t);
  BOOST_CHECK_EXCEPTION(t.profile(Broken{}, 6, Limits{}), sra::Error, says({"step 2", "expected a label", "got 7"}));
  BOOST_TEST((state_of(t) == before));
  BOOST_TEST(t.engine().workspace().observer == &watching);
  BOOST_CHECK_EXCEPTION(t.profile(items, 0), sra::Error, says({"profile", "at least 1 step, got 0"}));
}

BOOST_AUTO_TEST_CASE(table_and_lines_say_the_same) {
  const TemporaryFolder folder;
  const Profile profile{.steps = 4,
                        .seconds = 0.5,
                        .limits = {2e9, 8e9},
                        .kernels = {{"linear_forward", 3, 0.25, 1e8, 1.6e9, 0.2}, {"mine", 1.5, 0.125, 5e7, 0, 0}}};
  BOOST_TEST(profile.text() ==
             "4 steps of 500.000 ms; limits 2.0 GB/s, 8.0 GFLOP/s\n"
             "kernel                    calls         ms   share      GB/s    GFLOP/s  of limit\n"
             "linear_forward                3    250.000  50.0 %      0.40        6.4    80.0 %\n"
             "mine                        1.5    125.000  25.0 %      0.40        0.0         -\n"
             "not in kernels                     125.000  25.0 %\n");
  profile.write(folder / "profile.jsonl");
  std::ostringstream lines;
  lines << std::ifstream(folder / "profile.jsonl").rdbuf();
  BOOST_TEST(
      lines.str() ==
      "{\"profiled_steps\":4,\"seconds\":0.5,\"bytes_per_second\":2e+09,\"flops_per_second\":8e+09}\n"
      "{\"kernel\":\"linear_forward\",\"calls\":3,\"seconds\":0.25,\"bytes\":1e+08,\"flops\":1.6e+09,\"limit\":0.2,"
      "\"of_limit\":0.8}\n"
      "{\"kernel\":\"mine\",\"calls\":1.5,\"seconds\":0.125,\"bytes\":5e+07,\"flops\":0,\"limit\":0,\"of_limit\":0}\n");
  const Profile read = Profile::read(folder / "profile.jsonl");
  BOOST_TEST(read.text() == profile.text());
  BOOST_TEST(read.kernels[0].bytes == 1e8);
  write_text(folder / "bad.jsonl", "{\"kernel\":\"x\"}\n");
  BOOST_CHECK_EXCEPTION(Profile::read(folder / "bad.jsonl"), sra::Error, says({"bad.jsonl", "a line about the step"}));
  BOOST_CHECK_THROW(Profile::read(folder / "none"), sra::Error);
}
