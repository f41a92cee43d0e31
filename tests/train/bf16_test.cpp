// Checks training and sampling in bf16: it follows float, its copies of the weights are fresh, its runs resume exactly.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <string>
#include <vector>

namespace {

using sra::bf16, sra::index_t;
using sra::test::Items, sra::test::Samples, sra::test::Tiny;
using Align = sra::SRALoss<sra::Layer<1>, sra::Layer<2>>;
template <class T>
using Trainer = sra::Trainer<Tiny, Align, sra::Cpu, T>;

template <class T>
typename Trainer<T>::Options options(const std::string& run = "", int threads = 1) {
  typename Trainer<T>::Options o;
  o.run = run;
  o.batch = 8;
  o.seed = 3;
  o.lr = sra::constant(3e-3);
  o.threads = threads;
  o.quiet = true;
  return o;
}

/// Whether what products read is what the masters and the average round to.
void expect_fresh(const Trainer<bf16>& t) {
  const auto& store = t.engine().store();
  for (index_t i = 0; i < store.size(); ++i) {
    BOOST_TEST_REQUIRE(store.values()[i].bits == bf16(store.master()[i]).bits, "weight " << i);
    BOOST_TEST_REQUIRE(store.teacher()[i].bits == bf16(store.ema(0)[i]).bits, "average " << i);
  }
}

template <class T>
void train(Trainer<T>& t, index_t steps) {
  const Items data;
  for (auto step : t.train(data, steps))
    if (step.every(1)) step.save();
}

/// Gradients of a model that makes again what R says.
template <sra::Recompute R>
std::vector<float> gradients() {
  static constexpr sra::DiTConfig config = [] {
    sra::DiTConfig c = Tiny::config;
    c.recompute = R;
    return c;
  }();
  using Model = sra::SiT<config, Tiny::Condition>;
  sra::Trainer<Model, Align, sra::Cpu, bf16> trainer{{.batch = 8, .seed = 3, .threads = 1, .quiet = true}};
  sra::test::randomise(trainer);
  trainer.engine().store().invalidate();
  const Samples<Model> data(8);
  trainer.losses(data.all());
  return sra::test::gradients_of(trainer);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(bf16_training)

BOOST_AUTO_TEST_CASE(what_is_made_again_has_the_same_bits) {
  const auto all = gradients<sra::Recompute::none>();
  BOOST_TEST((gradients<sra::Recompute::norm>() == all));
  BOOST_TEST((gradients<sra::Recompute::norm_gelu>() == all));
  BOOST_TEST((gradients<sra::Recompute::block>() == all));
}

// Each gradient passes some 20 roundings a block to 8 digits; they are independent, so that their sum grows as its root.
BOOST_AUTO_TEST_CASE(losses_and_gradients_are_those_of_float_up_to_rounding) {
  const Samples<> data(8);
  Trainer<float> wide(options<float>());
  Trainer<bf16> narrow(options<bf16>());
  sra::test::randomise(wide);
  sra::test::randomise(narrow);
  narrow.engine().store().invalidate();
  const auto a = wide.losses(data.all()), b = narrow.losses(data.all());
  const double allowed = std::sqrt(20.0 * Tiny::config.depth) * 0x1p-9;
  BOOST_TEST_MESSAGE("denoising " << std::abs(b.denoising / a.denoising - 1) / allowed << ", alignment "
                                  << std::abs(b.alignment / a.alignment - 1) / allowed << " of the allowed");
  BOOST_TEST(std::abs(b.denoising / a.denoising - 1) <= allowed);
  BOOST_TEST(std::abs(b.alignment / a.alignment - 1) <= allowed);
  const auto g = sra::test::gradients_of(wide), h = sra::test::gradients_of(narrow);
  double difference = 0, norm = 0;
  for (const auto& p : wide.engine().store().parameters())
    for (index_t i = p.offset; p.kind == sra::ParamKind::trained && i < p.offset + p.size; ++i) {
      const auto at = static_cast<std::size_t>(i);
      difference += std::pow(static_cast<double>(g[at] - h[at]), 2), norm += std::pow(static_cast<double>(g[at]), 2);
    }
  BOOST_TEST_MESSAGE("gradient " << std::sqrt(difference / norm) / allowed << " of the allowed");
  BOOST_TEST(std::sqrt(difference / norm) <= allowed);
  BOOST_TEST(difference > 0.0);
}

BOOST_AUTO_TEST_CASE(training_follows_float) {
  Trainer<float> wide(options<float>());
  Trainer<bf16> narrow(options<bf16>());
  const Items data;
  double difference = 0, sum = 0;
  std::vector<double> losses, narrow_losses;
  for (auto step : wide.train(data, 60)) losses.push_back(step.report().losses.total);
  std::size_t i = 0;
  for (auto step : narrow.train(data, 60)) {
    difference += std::abs(step.report().losses.total - losses[i]), sum += losses[i];
    narrow_losses.push_back(step.report().losses.total);
    ++i;
  }
  BOOST_TEST_MESSAGE("mean difference " << difference / sum);
  BOOST_TEST(difference / sum <= 0.01);
  BOOST_TEST(losses.back() < 0.9 * losses.front());
  BOOST_TEST(narrow_losses.back() < 0.9 * narrow_losses.front());
}

BOOST_AUTO_TEST_CASE(copies_follow_masters_and_averages) {
  Trainer<bf16> t(options<bf16>());
  const Samples<> data(8);
  for (int i = 0; i < 3; ++i) t.step(data.all());
  expect_fresh(t);
  const auto before = t.losses(data.all());
  t.parameter("x_embedder.proj.weight")[3] = 2.0f;
  const auto after = t.losses(data.all());
  BOOST_TEST(after.denoising != before.denoising);
  expect_fresh(t);
}

BOOST_AUTO_TEST_CASE(reading_parameters_leaves_the_copies_as_they_are) {
  Trainer<bf16> t(options<bf16>());
  const Samples<> data(8);
  t.step(data.all());
  const auto& store = t.engine().store();
  const index_t at = store.find("x_embedder.proj.weight").offset;
  const bf16 mark(3.0f);
  const auto marked_survives = [&] {
    store.values()[at] = store.teacher()[at] = mark;
    t.losses(data.all());
    return store.values()[at].bits == mark.bits && store.teacher()[at].bits == mark.bits;
  };
  const Trainer<bf16>& readable = t;
  BOOST_TEST(readable.parameter("x_embedder.proj.weight")[0] == store.master()[at]);
  BOOST_TEST(readable.ema("x_embedder.proj.weight")[0] == store.ema(0)[at]);
  BOOST_TEST(readable.gradient("x_embedder.proj.weight")[0] == store.gradient()[at]);
  BOOST_TEST(marked_survives());
  t.parameter("x_embedder.proj.weight");
  BOOST_TEST(!marked_survives());
  t.ema("x_embedder.proj.weight");
  BOOST_TEST(!marked_survives());
  expect_fresh(t);
}

BOOST_AUTO_TEST_CASE(frozen_parameters_keep_their_copies) {
  auto o = options<bf16>();
  o.frozen = {"blocks.0.*"};
  Trainer<bf16> t(o);
  for (const char* name : {"blocks.0.mlp.fc1.weight", "blocks.1.mlp.fc1.weight"}) t.ema(name)[0] = 3.0f;
  const Samples<> data(8);
  for (int i = 0; i < 2; ++i) t.step(data.all());
  expect_fresh(t);  // also of averages that move towards parameters that do not
  BOOST_TEST(t.ema("blocks.0.mlp.fc1.weight")[0] < 3.0f);
}

BOOST_AUTO_TEST_CASE(a_sampler_that_was_handed_out_draws_by_loaded_weights) {
  const sra::test::TemporaryFolder folder;
  Trainer<bf16> source(options<bf16>(folder / "run"));
  train(source, 2);
  const std::vector<std::int32_t> labels{0, 1, 2};
  const auto classes = sra::dense(labels.data(), sra::Shape<sra::dynamic>{3});
  const auto images = [&](auto& sampler) {
    const auto view = sampler.sample(classes, {.steps = 2, .guidance = 2.0});
    return std::vector<double>(view.data, view.data + view.span());
  };
  Trainer<bf16> other(options<bf16>());
  auto& sampler = other.sampler();
  const auto before = images(sampler);
  other.load_weights(folder / "run" / "checkpoints" / sra::checkpoint_name(2));
  BOOST_TEST((images(sampler) != before));
  BOOST_TEST((images(sampler) == images(source.sampler())));
}

BOOST_AUTO_TEST_CASE(a_run_resumes_with_the_same_bits_on_other_threads) {
  const sra::test::TemporaryFolder folder;
  Trainer<bf16> whole(options<bf16>(folder / "whole"));
  train(whole, 6);
  {
    Trainer<bf16> first(options<bf16>(folder / "parts"));
    train(first, 3);
  }
  Trainer<bf16> second(options<bf16>(folder / "parts", 3));
  BOOST_TEST(second.step_number() == 3);
  train(second, 6);
  BOOST_TEST((sra::test::state_of(second) == sra::test::state_of(whole)));
  expect_fresh(second);
}

BOOST_AUTO_TEST_CASE(checkpoints_do_not_depend_on_the_type) {
  const sra::test::TemporaryFolder folder;
  {
    Trainer<bf16> narrow(options<bf16>(folder / "run"));
    train(narrow, 2);
  }
  Trainer<float> wide(options<float>(folder / "run"));
  BOOST_TEST(wide.step_number() == 2);
  train(wide, 3);
  const auto state = sra::test::state_of(wide);
  Trainer<bf16> again(options<bf16>(folder / "run"));
  BOOST_TEST(again.step_number() == 3);
  BOOST_TEST((state.buffers == sra::test::state_of(again).buffers));
}

BOOST_AUTO_TEST_CASE(samples_are_those_of_float_up_to_rounding) {
  Trainer<float> wide(options<float>());
  Trainer<bf16> narrow(options<bf16>());
  sra::test::randomise(wide, 0.1);
  sra::test::randomise(narrow, 0.1);
  narrow.engine().store().invalidate();
  const std::vector<std::int32_t> labels{0, 1, 2, 1};
  const auto classes = sra::dense(labels.data(), sra::Shape<sra::dynamic>{4});
  const auto images = [&](auto& trainer) {
    const auto view = trainer.sampler().sample(classes, {.steps = 8, .guidance = 2.0});
    return std::vector<double>(view.data, view.data + view.span());
  };
  const auto a = images(wide), b = images(narrow);
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference += std::pow(a[i] - b[i], 2), norm += a[i] * a[i];
  BOOST_TEST_MESSAGE("relative difference " << std::sqrt(difference / norm));
  BOOST_TEST(std::sqrt(difference / norm) <= std::sqrt(20.0 * Tiny::config.depth) * 0x1p-9);
  BOOST_TEST(difference > 0.0);
}

BOOST_AUTO_TEST_SUITE_END()
