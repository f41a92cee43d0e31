// Tests that two trainers of one seed are paired: the same initial weights, pictures and draws, with alignment and without.
// SPDX-License-Identifier: MIT
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace sra;
using sra::test::Items, sra::test::Tiny;

namespace {

using With = Trainer<Tiny, SRALoss<Layer<1>, Layer<2>>>;
using Without = Trainer<Tiny, NoAlignment>;

template <class T>
typename T::Options options(std::uint64_t seed) {
  return {.batch = 6, .seed = seed, .threads = 1, .quiet = true};
}

/// Parameters of the model, which the alignment's stand behind.
template <class T>
std::vector<float> weights(const T& trainer) {
  std::vector<float> all;
  for (const ParamInfo& p : trainer.engine().store().parameters()) {
    if (p.name.starts_with("ap_head.")) continue;
    const auto values = trainer.parameter(p.name);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// The denoising losses of the samples of the first step, before any update could differ.
template <class T>
std::vector<float> first_losses(T& trainer) {
  const Items data;
  std::vector<float> losses;
  for (auto step : trainer.train(data, 1))
    if (step.number() == 1) losses = trainer.engine().denoising_per_sample();
  return losses;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(paired)

BOOST_AUTO_TEST_CASE(the_first_step_has_the_same_weights_pictures_and_draws) {
  With with(options<With>(3));
  Without without(options<Without>(3)), other(options<Without>(4));
  BOOST_TEST((weights(with) == weights(without)));
  BOOST_TEST((weights(other) != weights(without)));
  const auto a = first_losses(with), b = first_losses(without), c = first_losses(other);
  BOOST_TEST(a.size() == 6u);
  BOOST_TEST(a == b);
  BOOST_TEST((b != c));
  BOOST_TEST((weights(with) != weights(without)));  // the alignment did something
}

BOOST_AUTO_TEST_CASE(validation_takes_the_same_draws_in_both) {
  With with(options<With>(3));
  Without without(options<Without>(3));
  const Items data;
  BOOST_TEST(with.validate(data).averaged == without.validate(data).averaged);
}

BOOST_AUTO_TEST_SUITE_END()
