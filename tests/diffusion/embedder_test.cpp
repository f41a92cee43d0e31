// Tests features of blocks: those of the model itself, whatever the chunks, threads and the backend's memory.
// SPDX-License-Identifier: MIT
#include "../train/far_backend.hpp"
#include "../train/tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

using namespace sra;
using sra::test::says, sra::test::Samples, sra::test::Tiny;

namespace {

constexpr index_t n = 7;
const std::vector<double> times{0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0};
const std::vector<int> blocks{3, 1};
constexpr EmbedderOptions options{.seed = 5, .first_sample = 2, .max_batch = 3};

/// A model with random weights everywhere, the averages other ones.
template <class Model, class B, class T = float>
struct Rig {
  B backend{{.threads = 2}};
  Store<Model, B, T> store{backend, 1};

  Rig() {
    store.allocate();
    for (int which = 0; which < 2; ++which)
      for (const ParamInfo& p : store.parameters()) {
        std::vector<float> values(static_cast<std::size_t>(p.size));
        const Rng rng(7, Purpose::user, which, p.offset);
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.2f * rng.normal(i);
        float* to = which == 0 ? store.master() : store.ema(0);
        backend.upload(to + p.offset, values.data(), values.size() * sizeof(float));
      }
    store.invalidate();
  }
  auto embedder() { return Embedder(backend, store.module(), store.averaged()); }
};

template <class V>
std::vector<float> numbers(const V& v) {
  return {v.data, v.data + v.shape.size()};
}
template <class B, class T>
std::vector<std::vector<float>> features_on(EmbedderOptions o = options) {
  const Samples<Tiny> samples(n);
  Rig<Tiny, B, T> rig;
  auto embedder = rig.embedder();
  std::vector<std::vector<float>> all;
  for (const auto& f : embedder.embed(samples.all().images, times, samples.all().condition, blocks, o))
    all.push_back(numbers(f));
  return all;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(embedder)

BOOST_AUTO_TEST_CASE(shows_the_model_what_flow_matching_does) {
  const Samples<Tiny> samples(n);
  Rig<Tiny, Cpu> rig;
  std::vector<float> seen(static_cast<std::size_t>(Tiny::ImageShape{n}.size()));
  rig.embedder().noised(samples.all().images, times, dense(seen.data(), Tiny::ImageShape{n}), options);
  for (index_t b = 0; b < n; ++b) {
    const Rng rng(options.seed, Purpose::noise, 0, options.first_sample + b);
    for (index_t i = 0; i < Samples<Tiny>::size; ++i) {
      const auto at = static_cast<std::size_t>(b * Samples<Tiny>::size + i);
      const double t = times[static_cast<std::size_t>(b)], x = samples.images[at], e = rng.normal(i);
      // The time, 1 − t, both products and their sum are rounded once each.
      const double allowed = 4 * std::numeric_limits<float>::epsilon() * (std::abs(x) + std::abs(e));
      BOOST_TEST(std::abs(seen[at] - ((1 - t) * x + t * e)) <= allowed);
    }
  }
}

BOOST_AUTO_TEST_CASE(features_are_those_that_the_model_hands_out) {
  const Samples<Tiny> samples(n);
  Rig<Tiny, Cpu> rig;
  auto embedder = rig.embedder();
  std::vector<float> seen(static_cast<std::size_t>(Tiny::ImageShape{n}.size()));
  embedder.noised(samples.all().images, times, dense(seen.data(), Tiny::ImageShape{n}), options);
  const auto features = embedder.embed(samples.all().images, times, samples.all().condition, blocks, options);

  Workspace<Cpu> workspace(rig.backend);
  Detached<Cpu, float> context(workspace, rig.store.averaged());
  const std::vector<float> t(times.begin(), times.end());
  int met = 0;
  rig.store.module()(constant(context, dense(seen.data(), Tiny::ImageShape{n})), dense(t.data(), Shape<dynamic>{n}),
                     samples.all().condition, [&](int i, const auto& x) {
                       for (std::size_t k = 0; k < blocks.size(); ++k)
                         if (blocks[k] == i) {
                           ++met;
                           BOOST_TEST((numbers(features[k]) == numbers(x.value)), "block " << i);
                         }
                     });
  BOOST_TEST(met == 2);
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_chunks_and_on_the_images_that_come_along) {
  const auto all = features_on<Cpu, float>();
  for (const index_t chunk : {1, 2, 5, 32}) {
    EmbedderOptions o = options;
    o.max_batch = chunk;
    BOOST_TEST((features_on<Cpu, float>(o) == all), "chunks of " << chunk);
  }
  const Samples<Tiny> samples(n);
  Rig<Tiny, Cpu> rig;
  EmbedderOptions o = options;
  o.first_sample += 4;
  const auto last = numbers(rig.embedder().embed(samples.batch(4, 3).images, std::span(times).subspan(4),
                                                 samples.batch(4, 3).condition, 3, o));
  BOOST_TEST((last == std::vector<float>(all[0].end() - std::ssize(last), all[0].end())));
}

BOOST_AUTO_TEST_CASE(seed_times_weights_and_labels_matter) {
  const Samples<Tiny> samples(n);
  Rig<Tiny, Cpu> rig;
  const auto of = [&](auto table, double t, auto condition, std::uint64_t seed) {
    Embedder embedder(rig.backend, rig.store.module(), table);
    return numbers(embedder.embed(samples.all().images, {t}, condition, 2, {.seed = seed}));
  };
  const auto labels = samples.all().condition;
  const auto one = of(rig.store.averaged(), 0.5, labels, 1);
  BOOST_TEST((of(rig.store.averaged(), 0.5, labels, 1) == one));
  BOOST_TEST((of(rig.store.averaged(), 0.5, labels, 2) != one));
  BOOST_TEST((of(rig.store.averaged(), 0.4, labels, 1) != one));
  BOOST_TEST((of(rig.store.live(), 0.5, labels, 1) != one));
  const std::vector<std::int32_t> nulls(n, Tiny::Condition::null_class);
  const auto null = of(rig.store.averaged(), 0.5, Tiny::Condition::View{}, 1);
  BOOST_TEST((null != one));
  BOOST_TEST((of(rig.store.averaged(), 0.5, dense(nulls.data(), Shape<dynamic>{n}), 1) == null));
}

BOOST_AUTO_TEST_CASE(no_condition_is_the_zero_vector_or_nothing) {
  const Samples<Tiny> samples(n);
  using Vectors = SiT<sra::test::tiny, Vector<4>>;
  Rig<Vectors, Cpu> rig;
  const std::vector<float> zeros(4 * n);
  const auto given = dense(zeros.data(), Shape<dynamic, 4>{n});
  const auto zero = numbers(rig.embedder().embed(samples.all().images, {0.5}, given, 1));
  BOOST_TEST((numbers(rig.embedder().embed(samples.all().images, {0.5}, {}, 1)) == zero));
  Rig<SiT<sra::test::tiny, Unconditional>, Cpu> none;
  BOOST_TEST(numbers(none.embedder().embed(samples.all().images, {0.5}, {}, 1)).size() == zero.size());
}

BOOST_AUTO_TEST_CASE(a_backend_with_memory_of_its_own_makes_the_same_bits) {
  BOOST_TEST((features_on<far::Far, float>() == features_on<Cpu, float>()));
  BOOST_TEST((features_on<far::Far, bf16>() == features_on<Cpu, bf16>()));
  // A stream in bf16 is handed out in float.
  for (const auto& block : features_on<far::Narrow, bf16>())
    for (const float x : block) BOOST_TEST(static_cast<float>(static_cast<bf16>(x)) == x);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  const Samples<Tiny> samples(n);
  Rig<Tiny, Cpu> rig;
  auto embedder = rig.embedder();
  const auto images = samples.all().images;
  const auto labels = samples.all().condition;
  BOOST_CHECK_EXCEPTION(embedder.embed(images, {0.5}, labels, 0), Error, says({"blocks from 1 to 3, got 0"}));
  BOOST_CHECK_EXCEPTION(embedder.embed(images, {0.5}, labels, 4), Error, says({"blocks from 1 to 3, got 4"}));
  BOOST_CHECK_EXCEPTION(embedder.embed(images, {0.5, 0.6}, labels, 1), Error, says({"1 time or 7, got 2"}));
  BOOST_CHECK_EXCEPTION(embedder.embed(images, {1.5}, labels, 1), Error, says({"times in [0, 1], got 1.5"}));
  BOOST_CHECK_EXCEPTION(embedder.embed(images, {0.5}, samples.batch(0, 3).condition, 1), Error,
                        says({"condition: expected 7 rows, got 3"}));
  BOOST_CHECK_EXCEPTION(embedder.embed(samples.batch(0, 0).images, {0.5}, labels, 1), Error,
                        says({"at least 1 image, got 0"}));
  BOOST_CHECK_EXCEPTION(embedder.embed(images, {0.5}, labels, 1, {.max_batch = 0}), Error,
                        says({"max_batch", "got 0"}));
  const std::vector<std::int32_t> wrong(n, 4);
  BOOST_CHECK_EXCEPTION(embedder.embed(images, {0.5}, dense(wrong.data(), Shape<dynamic>{n}), 1), Error,
                        says({"Embedder: sample 0", "got 4"}));
  std::vector<float> few(10);
  BOOST_CHECK_EXCEPTION(embedder.noised(images, times, dense(few.data(), Tiny::ImageShape{1})), Error,
                        says({"room for 7 images, got 1"}));
  BOOST_TEST(embedder.embed(images, {0.5}, labels, 3).shape.batch == n);  // it works on
}

BOOST_AUTO_TEST_SUITE_END()
