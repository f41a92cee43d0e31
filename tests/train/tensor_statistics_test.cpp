// Tests statistics of parameters: against copies of the numbers, after steps that change nothing, after a resume.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "expected_statistics.hpp"
#include "probe.hpp"
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <limits>
#include <string>
#include <tuple>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

using Types = std::tuple<float, double>;

template <class T>
using Run = Trainer<Tiny, user::Probe, Cpu, T>;

template <class T>
typename Run<T>::Options options(const user::Control* control, int threads = 2) {
  typename Run<T>::Options o{.batch = 8,
                             .lr = constant(0.01),
                             .adamw = {.weight_decay = 0.5},
                             .frozen = {"blocks.1.mlp.*"},
                             .threads = threads,
                             .quiet = true};
  o.align.control = control;
  return o;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tensor_statistics)

BOOST_AUTO_TEST_CASE_TEMPLATE(are_those_of_the_numbers_before_and_after_a_step, T, Types) {
  Run<T> t(options<T>(nullptr));
  randomise(t);
  for (int i = 0; i < 3; ++i) {
    const auto before = weights_of(t);
    t.step(Samples<>(8).all());
    expect_tensor_statistics(t, before);
  }
  // The position embedding is a constant; fc1 and fc2 of a block are frozen, a matrix and a bias each.
  const auto all = t.tensor_statistics();
  BOOST_TEST(updated(all) == std::ssize(all) - 5);
}

BOOST_AUTO_TEST_CASE(change_nothing_and_do_not_depend_on_the_number_of_threads) {
  std::vector<std::vector<TensorStatistics>> all;
  for (const int threads : {1, 3}) {
    Run<float> t(options<float>(nullptr, threads));
    randomise(t);
    t.step(Samples<>(8).all());
    const auto before = state_of(t);
    all.push_back(t.tensor_statistics());
    BOOST_TEST((state_of(t) == before));
  }
  BOOST_TEST(same(all[0], all[1]));
}

BOOST_AUTO_TEST_CASE(there_is_no_update_before_the_first_step_nor_after_a_skipped_one) {
  user::Control control;
  Run<float> t(options<float>(&control));
  randomise(t);
  BOOST_TEST(updated(t.tensor_statistics()) == 0);
  t.step(Samples<>(8).all());
  BOOST_TEST(updated(t.tensor_statistics()) > 0);
  control.factor = std::numeric_limits<double>::infinity();
  BOOST_TEST(t.step(Samples<>(8).all()).skipped);
  const auto all = t.tensor_statistics();
  BOOST_TEST(updated(all) == 0);
  index_t non_finite = 0;
  for (const TensorStatistics& s : all) {
    BOOST_TEST(s.weight.non_finite == 0);
    BOOST_TEST(s.update.non_finite == 0);
    BOOST_TEST(s.gradient.count + s.gradient.non_finite == s.weight.count);
    non_finite += s.gradient.non_finite;
  }
  BOOST_TEST(non_finite > 0);
  // The update after it has the number that the skipped one would have had.
  control.factor = 1;
  const auto before = weights_of(t);
  t.step(Samples<>(8).all());
  expect_tensor_statistics(t, before);
}

BOOST_AUTO_TEST_CASE(a_run_that_was_resumed_has_them_from_its_first_step_on) {
  const TemporaryFolder folder;
  const Items data;
  for (const index_t steps : {2, 4}) {
    auto o = options<float>(nullptr);
    o.run = folder.path().string();
    Run<float> t(o);
    BOOST_TEST(updated(t.tensor_statistics()) == 0);
    auto before = weights_of(t);
    for (auto step : t.train(data, steps)) {
      (void)step;
      expect_tensor_statistics(t, before);
      before = weights_of(t);
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
