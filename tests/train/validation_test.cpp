// Tests validation: fixed draws, both sets of weights, no trace in the training, its log lines.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "tiny_run.hpp"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

using Align = SRALoss<Layer<1>, Layer<2>>;
using Run = Trainer<Tiny, Align>;

Run::Options options(int threads = 1, index_t batch = 6) {
  return {.batch = batch, .lr = constant(1e-3), .ema = {0.9}, .threads = threads, .quiet = true};
}

/// Items of one class without end.
struct Endless {
  using Sample = Image<3, 8, 8>;
  void read(std::size_t i, Rng rng, Row<Sample> out) const {
    out.label = static_cast<std::int32_t>(i % 3);
    for (std::size_t k = 0; k < out.image.size(); ++k) out.image[k] = rng.normal(k);
  }
};

struct Broken : Items {
  void read(std::size_t i, Rng rng, Row<Sample> out) const {
    Items::read(i, rng, out);
    if (i == 5) out.image[7] = std::numeric_limits<float>::quiet_NaN();
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(loss_is_that_of_a_step_without_dropping_on_the_same_draws) {
  Run trainer(options());
  randomise(trainer);
  const Items data;
  const ValidationOptions o{.samples = 5, .seed = 3};
  const Validation v = trainer.validate(data, o);
  BOOST_REQUIRE(v.live.size() == 5u);
  BOOST_REQUIRE(v.averaged.size() == 5u);

  Batch<Items::Sample> batch(5);
  std::vector<float> noise;
  std::vector<float> times;
  const std::uint64_t seed = Rng(o.seed, Purpose::validation, 0, 0).bits64(0);
  for (index_t i = 0; i < 5; ++i) {
    data.read(static_cast<std::size_t>(i * 13 / 5), Rng(o.seed, Purpose::validation, 0, i), batch.row(i));
    const Rng rng(seed, Purpose::noise, 0, i);
    for (index_t k = 0; k < Tiny::ImageShape::sample_size(); ++k) noise.push_back(rng.normal(k));
    times.push_back(Rng(seed, Purpose::time, 0, i).uniform(0));
  }
  Draws<Tiny, float> draws;
  draws.times = dense(std::as_const(times).data(), Shape<dynamic>{5});
  draws.noise = dense(std::as_const(noise).data(), Tiny::ImageShape{5});
  draws.condition_is_dropped = true;
  trainer.losses(micro_batch<Tiny>(batch), draws);
  const auto& expected = trainer.engine().denoising_per_sample();
  for (std::size_t i = 0; i < 5; ++i) BOOST_TEST(v.live[i] == static_cast<double>(expected[i]));

  auto& store = trainer.engine().store();
  std::copy(store.ema(0), store.ema(0) + store.size(), store.master());
  trainer.losses(micro_batch<Tiny>(batch), draws);
  for (std::size_t i = 0; i < 5; ++i) {
    BOOST_TEST(v.averaged[i] == static_cast<double>(expected[i]));
    BOOST_TEST(v.averaged[i] != v.live[i]);
  }
}

BOOST_AUTO_TEST_CASE(neither_threads_nor_batch_nor_the_state_of_the_run_change_a_bit) {
  const Items data;
  const ValidationOptions o{.samples = 13};
  Run one(options(1, 6)), three(options(3, 13));
  randomise(one);
  randomise(three);
  const Validation a = one.validate(data, o), b = three.validate(data, o), c = one.validate(data, o);
  BOOST_TEST((a.live == b.live && a.averaged == b.averaged));
  BOOST_TEST((a.live == c.live && a.averaged == c.averaged));
  const Validation other = one.validate(data, {.samples = 13, .seed = 1});
  BOOST_TEST((a.live != other.live));
}

BOOST_AUTO_TEST_CASE(a_run_with_validation_has_the_bits_of_one_without) {
  const Items data;
  Run with(options()), without(options());
  for (auto step : with.train(data, 6)) step.validate(data, {.samples = 9});
  for (auto step : without.train(data, 6)) (void)step;
  BOOST_TEST((state_of(with) == state_of(without)));
}

BOOST_AUTO_TEST_CASE(samples_are_spread_over_finite_data_and_new_in_endless_data) {
  Batch<Items::Sample> batch(4), trained(4);
  detail::read_held_out(Items{.items = 1000}, {.samples = 8}, 4, batch);
  for (index_t b = 0; b < 4; ++b) BOOST_TEST(batch.row(b).label == (4 + b) * 125 % 3);
  detail::read_held_out(Endless{}, {.samples = 4}, 0, batch);
  for (index_t b = 0; b < 4; ++b)
    Endless{}.read(static_cast<std::size_t>(b), Rng(0, Purpose::data, 0, b), trained.row(b));
  const auto all = batch.images(), seen = trained.images();
  index_t same = 0;
  for (index_t i = 0; i < all.shape.size(); ++i) same += all.data[i] == seen.data[i];
  BOOST_TEST(same < 8);
  Run trainer(options());
  BOOST_TEST(trainer.validate(Items{}, {.samples = 500}).live.size() == 13u);
}

BOOST_AUTO_TEST_CASE(a_sample_that_is_not_finite_and_a_number_below_one_are_refused) {
  Run trainer(options());
  BOOST_CHECK_EXCEPTION(trainer.validate(Broken{}, {.samples = 13}), Error, says({"item 5", "expected finite values"}));
  BOOST_CHECK_EXCEPTION(trainer.validate(Items{}, {.samples = 0}), Error, says({"validate", "at least 1", "got 0"}));
  BOOST_TEST(trainer.validate(Items{}, {.samples = 2}).live.size() == 2u);
}

BOOST_AUTO_TEST_CASE(estimates_are_mean_and_standard_error) {
  const std::vector<double> a{1, 2, 3, 4}, b{2, 2, 4, 6};
  const Estimate e = Estimate::of(a), d = paired_difference(a, b);
  BOOST_TEST(e.mean == 2.5);
  BOOST_TEST(e.standard_error == std::sqrt(5.0 / 3 / 4), boost::test_tools::tolerance(1e-15));
  BOOST_TEST(d.mean == 1.0);
  BOOST_TEST(d.standard_error == std::sqrt(2.0 / 3 / 4), boost::test_tools::tolerance(1e-15));
  BOOST_CHECK_THROW(paired_difference(a, std::vector<double>{1}), Error);
}

BOOST_AUTO_TEST_CASE(the_log_gets_a_line_of_its_own_and_the_folder_the_losses_of_the_samples) {
  const TemporaryFolder folder;
  auto o = options();
  o.run = folder / "run";
  Validation last;
  {
    Run trainer(o);
    const Items data;
    for (auto step : trainer.train(data, 2)) {
      step.log();
      if (step.every(2)) step.validate();
      if (step.every(2)) last = step.validate({.samples = 4, .seed = 5});
    }
  }
  const std::string log = read_text(folder / "run/log.jsonl");
  BOOST_TEST(log.find("{\"step\":2,\"validation\":") != std::string::npos);
  BOOST_TEST(log.find("\"validation_live\":") != std::string::npos);
  BOOST_TEST(log.find("\"validation_samples\":13,\"validation_seed\":0,"
                      "\"validation_losses\":\"validation/step-000000002.npy\"") != std::string::npos);
  BOOST_TEST(log.find("\"validation_samples\":4,\"validation_seed\":5,"
                      "\"validation_losses\":\"validation/step-000000002-2.npy\"") != std::string::npos);
  const Npy file(folder / "run/validation/step-000000002-2.npy");
  BOOST_TEST(file.shape() == (std::vector<index_t>{2, 4}), boost::test_tools::per_element());
  std::vector<double> expected = last.averaged;
  expected.insert(expected.end(), last.live.begin(), last.live.end());
  BOOST_TEST(file.read<double>() == expected, boost::test_tools::per_element());
}
