// Checks that a trainer answers bad input with one clear sentence and stays as it was.
// SPDX-License-Identifier: MIT
#include "probe.hpp"
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace {

using sra::index_t;
using sra::test::Samples;
using sra::test::says;
using Trainer = sra::Trainer<sra::test::Tiny, user::Probe>;
using Options = Trainer::Options;
using user::Control;

Options options(const Control* control = nullptr) {
  Options o;
  o.batch = 8;
  o.threads = 2;
  o.align.control = control;
  o.ema = {0.9999, 0.5};
  o.quiet = true;
  return o;
}

void refused(const std::function<void(Options&)>& change, std::vector<std::string> words) {
  Options o = options();
  change(o);
  BOOST_CHECK_EXCEPTION(Trainer{o}, sra::Error, says(words));
}

/// Items of which one is broken: a value of number `bad` is not finite, or its label is out of range.
struct Broken : sra::test::Items {
  std::size_t bad = 4;
  float value = std::numeric_limits<float>::quiet_NaN();
  int label = 0, count = 3;
  int classes() const { return count; }
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    sra::test::Items::read(i, rng, out);
    if (i == bad) out.image[3 * (8 * 2 + 5) + 1] = value, out.label = label;
  }
};

/// Does two steps with one of them failing first, and compares with a trainer that never saw the failure.
template <class Fail>
void survives(Control& control, Fail fail) {
  const Samples<> samples(8);
  Trainer hurt{options(&control)}, calm{options(&control)};
  for (Trainer* t : {&hurt, &calm}) {
    sra::test::randomise(*t);
    t->step(samples.all());
  }
  const auto before = sra::test::state_of(hurt);
  fail(hurt);
  BOOST_TEST((sra::test::state_of(hurt) == before));
  BOOST_TEST(hurt.step_number() == 1);
  BOOST_TEST(hurt.engine().workspace().gradients.live() == 0u);
  BOOST_TEST(hurt.engine().workspace().activations.used() == 0u);
  BOOST_TEST(hurt.engine().workspace().tape.size() == 0);
  for (Trainer* t : {&hurt, &calm}) t->step(samples.all());
  BOOST_TEST((sra::test::state_of(hurt) == sra::test::state_of(calm)));
  BOOST_TEST(!(sra::test::state_of(hurt) == before));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(bad_input)

BOOST_AUTO_TEST_CASE(options_out_of_range_are_refused_with_the_option_and_the_number) {
  refused([](Options& o) { o.batch = 0; }, {"Trainer: batch: expected at least 1, got 0"});
  refused([](Options& o) { o.batch = -3; }, {"batch", "-3"});
  refused([](Options& o) { o.accumulate = 0; }, {"accumulate", "got 0"});
  refused([](Options& o) { o.accumulate = 3; }, {"Trainer: accumulate: expected a divisor of batch 8, got 3"});
  refused([](Options& o) { o.ema = {}; }, {"ema", "at least one"});
  refused([](Options& o) { o.ema = {0.5, 0.5, 0.5, 0.5, 0.5}; }, {"ema", "at most 4", "5"});
  refused([](Options& o) { o.ema = {0.5, 1.5}; }, {"ema", "[0, 1]", "1.5"});
  refused([](Options& o) { o.ema = {std::numeric_limits<double>::quiet_NaN()}; }, {"ema", "nan"});
  refused([](Options& o) { o.condition_dropout = -0.25f; }, {"dropout", "[0, 1]", "-0.25"});
  refused([](Options& o) { o.clip = -1; }, {"clip", "-1"});
  refused([](Options& o) { o.threads = -2; }, {"Threads", "-2"});
  refused([](Options& o) { o.max_skipped = 0; }, {"max_skipped", "at least 1", "got 0"});
  refused([](Options& o) { o.align.inner.t_max = 2; }, {"SRALoss", "t_max", "[0, 1]", "got 2"});
  refused([](Options& o) { o.adamw.beta2 = 1; }, {"adamw", "betas in [0, 1)", "got 1"});
  refused([](Options& o) { o.adamw.eps = -1e-8; }, {"adamw", "eps", "-1e-08"});
}

BOOST_AUTO_TEST_CASE(a_learning_rate_that_is_not_finite_changes_nothing) {
  const Samples<> samples(8);
  Options o = options();
  o.lr = [](const sra::Progress& p) { return p.step == 1 ? std::numeric_limits<double>::quiet_NaN() : 1e-3; };
  Trainer t{o};
  t.step(samples.all());
  const auto before = sra::test::state_of(t);
  BOOST_CHECK_EXCEPTION(t.step(samples.all()), sra::Error, says({"step 2", "learning rate", "nan"}));
  BOOST_TEST((sra::test::state_of(t) == before));
}

BOOST_AUTO_TEST_CASE(micro_batches_of_another_size_are_refused) {
  Options o = options();
  o.accumulate = 2;
  Trainer t{o};
  const Samples<> samples(8);
  BOOST_CHECK_EXCEPTION(t.accumulated_step([&](index_t) { return samples.all(); }), sra::Error,
                        says({"micro-batch of 4 samples", "got 8"}));
}

BOOST_AUTO_TEST_CASE(a_frozen_pattern_that_matches_nothing_is_named) {
  refused([](Options& o) { o.frozen = {"blocks.0.*", "block.1.*"}; }, {"frozen", "\"block.1.*\""});
}

BOOST_AUTO_TEST_CASE(patterns_match_whole_names) {
  BOOST_TEST(sra::matches("blocks.1.*", "blocks.1.attn.qkv.weight"));
  BOOST_TEST(!sra::matches("blocks.1.*", "blocks.11.attn.qkv.weight"));
  BOOST_TEST(!sra::matches("blocks.1", "blocks.1.attn.qkv.weight"));
  BOOST_TEST(sra::matches("*.bias", "blocks.1.attn.qkv.bias"));
  BOOST_TEST(sra::matches("*attn*bias", "blocks.1.attn.qkv.bias"));
  BOOST_TEST(!sra::matches("*attn*bias", "blocks.1.attn.qkv.bias2"));
  BOOST_TEST(sra::matches("*", ""));
  BOOST_TEST(!sra::matches("", "x"));
}

BOOST_AUTO_TEST_CASE(labels_out_of_range_and_missing_ones_are_refused_with_the_sample) {
  Options o = options();
  o.accumulate = 2;
  Trainer t{o};
  const auto before = sra::test::state_of(t);
  Samples<> samples(8);
  const auto step = [&] { t.accumulated_step([&](index_t k) { return samples.batch(4 * k, 4); }); };
  samples.labels[6] = 4;
  BOOST_CHECK_EXCEPTION(step(), sra::Error, says({"step 0", "sample 6", "[0, 3)", "got 4"}));
  samples.labels[6] = -1;
  BOOST_CHECK_EXCEPTION(step(), sra::Error, says({"sample 6", "got -1"}));
  BOOST_CHECK_EXCEPTION(t.losses(samples.all()), sra::Error, says({"sample 6", "got -1"}));
  samples.labels[6] = 3;  // the null class is the trainer's to give
  BOOST_CHECK_EXCEPTION(step(), sra::Error, says({"sample 6", "[0, 3)", "got 3"}));
  samples.labels[6] = 2;
  auto batch = samples.all();
  batch.condition.shape.batch = 7;
  BOOST_CHECK_EXCEPTION(t.step(batch), sra::Error, says({"condition", "8 samples", "got 7"}));
  BOOST_CHECK_EXCEPTION(t.step(samples.batch(0, 0)), sra::Error, says({"batch of at least 1 sample, got 0"}));
  BOOST_TEST((sra::test::state_of(t) == before));
  BOOST_TEST(t.step_number() == 0);
  step();
  BOOST_TEST(t.step_number() == 1);
}

BOOST_AUTO_TEST_CASE(bad_data_ends_the_loop_with_the_item_and_leaves_the_finished_steps) {
  const auto run = [](const Broken& data, Trainer& t) {
    for (auto step : t.train(data, 20)) (void)step;
  };
  for (const int readers : {0, 1}) {
    Options o = options();
    o.readers = readers;
    Broken data;
    {
      Trainer t{o};
      BOOST_CHECK_EXCEPTION(run(data, t), sra::Error, says({"item 4", "finite", "nan", "[2, 5, 1]"}));
      BOOST_TEST(t.step_number() < 2);  // 13 items, batches of 8: item 4 is in the first two
    }
    data.value = 0, data.label = 4, data.count = 3;
    {
      Trainer t{o};
      BOOST_CHECK_EXCEPTION(run(data, t), sra::Error, says({"[0, 3)", "got 4"}));
    }
    data.label = 0, data.count = 4;
    {
      Trainer t{o};
      BOOST_CHECK_EXCEPTION(run(data, t), sra::Error, says({"Trainer::train", "at most 3 classes, got 4"}));
      BOOST_TEST(t.step_number() == 0);
    }
    data.items = 0, data.count = 3;
    Trainer t{o};
    BOOST_CHECK_EXCEPTION(run(data, t), sra::Error, says({"at least one item", "empty"}));
  }
}

BOOST_AUTO_TEST_CASE(after_a_failed_loop_batches_of_any_size_are_welcome) {
  Trainer t{options()};
  const sra::test::Items items;
  const Samples<> samples(64);
  try {
    for (auto step : t.train(items, 20))
      if (step.number() == 5) throw std::runtime_error("the user's");
  } catch (const std::runtime_error&) {
  }
  BOOST_TEST(t.step_number() == 5);
  t.losses(samples.all());  // larger than any batch of the loop
  for (auto step : t.train(items, 20))
    if (step.number() == 9) break;
  t.losses(samples.all());
  BOOST_TEST(t.step_number() == 9);
}

BOOST_AUTO_TEST_CASE(a_step_without_finite_gradient_changes_nothing_and_is_counted) {
  const Samples<> samples(8);
  for (const double factor : {std::numeric_limits<double>::infinity(), std::numeric_limits<double>::quiet_NaN()}) {
    Control control;
    Trainer t{options(&control)};
    sra::test::randomise(t);
    t.step(samples.all());
    const auto before = sra::test::state_of(t);
    control.factor = factor;
    BOOST_TEST(t.step(samples.all()).skipped);
    BOOST_TEST(t.skipped() == 1);
    BOOST_TEST(t.step_number() == 2);
    BOOST_TEST((sra::test::state_of(t) == before));
    control.factor = 1;
    BOOST_TEST(!t.step(samples.all()).skipped);
    BOOST_TEST(t.skipped() == 1);
  }
}

BOOST_AUTO_TEST_CASE(too_many_skipped_steps_in_a_row_are_an_error_that_names_the_first_tensor) {
  Control control;
  Options o = options(&control);
  o.max_skipped = 3;
  Trainer t{o};
  const Samples<> samples(8);
  const auto skip = [&] { BOOST_TEST(t.step(samples.all()).skipped); };
  control.of_probed = std::numeric_limits<double>::infinity();  // the gradient of "probed" alone is infinite
  skip(), skip();
  control.of_probed = 0;
  t.step(samples.all());  // the count begins anew
  control.of_probed = std::numeric_limits<double>::infinity();
  skip(), skip();
  const auto before = sra::test::state_of(t);
  BOOST_CHECK_EXCEPTION(t.step(samples.all()), sra::Error, says({"step 6", "3 steps in a row", "parameter is probed"}));
  BOOST_TEST((sra::test::state_of(t) == before));
  BOOST_TEST(t.skipped() == 5);
}

BOOST_AUTO_TEST_CASE(a_weight_that_is_not_finite_is_found) {
  Options o = options();
  o.max_skipped = 1;
  Trainer t{o};
  t.parameter("blocks.1.mlp.fc1.weight")[3] = std::numeric_limits<float>::infinity();
  sra::test::randomise(t);
  BOOST_CHECK_EXCEPTION(t.step(Samples<>(8).all()), sra::Error, says({"finite gradients", "x_embedder.proj.weight"}));
}

BOOST_AUTO_TEST_CASE(an_alignment_kernel_or_pullback_that_throws_leaves_everything_as_it_was) {
  const Samples<> samples(8);
  for (const auto where : {Control::in_alignment, Control::in_kernel, Control::in_backward}) {
    Control control;
    survives(control, [&](Trainer& t) {
      control.fails = where;
      BOOST_CHECK_THROW(t.step(samples.all()), user::Failure);
      if (where != Control::in_kernel) BOOST_CHECK_THROW(t.engine().plan(8), user::Failure);  // planning skips kernels
      control.fails = Control::never;
    });
  }
}

BOOST_AUTO_TEST_CASE(a_failure_in_the_second_micro_batch_forgets_the_first) {
  const Samples<> samples(8);
  Control control;
  Options o = options(&control);
  o.accumulate = 2;
  Trainer hurt{o}, calm{o};
  const auto step = [&](Trainer& t, bool fails) {
    t.accumulated_step([&](index_t k) {
      control.fails = fails && k == 1 ? Control::in_backward : Control::never;
      return samples.batch(4 * k, 4);
    });
  };
  const auto before = sra::test::state_of(hurt);
  BOOST_CHECK_THROW(step(hurt, true), user::Failure);
  BOOST_TEST((sra::test::state_of(hurt) == before));
  step(hurt, false), step(calm, false);
  BOOST_TEST((sra::test::state_of(hurt) == sra::test::state_of(calm)));
}

BOOST_AUTO_TEST_CASE(unknown_parameters_are_named) {
  Trainer t{options()};
  BOOST_CHECK_EXCEPTION(t.parameter("blocks.9.attn.qkv.weight"), sra::Error, says({"blocks.9.attn.qkv.weight"}));
}

BOOST_AUTO_TEST_SUITE_END()
