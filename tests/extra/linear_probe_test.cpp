// Tests the linear probe: its equation, what it can tell and what it cannot, and its standard error.
// SPDX-License-Identifier: MIT
#include <sra/core/philox.hpp>
#include <sra/extra/linear_probe.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

using sra::index_t, sra::LinearProbe;

namespace {

/// Noise around a mean of the row's class, `distance` from zero along an axis of its own, in very different units.
struct Classes {
  Eigen::MatrixXd x;
  std::vector<std::int32_t> labels;

  Classes(index_t n, double distance, std::uint64_t seed) : x(n, 6) {
    for (index_t i = 0; i < n; ++i) {
      const sra::Rng rng(seed, sra::Purpose::user, 0, i);
      labels.push_back(static_cast<std::int32_t>(i % 4));
      for (index_t k = 0; k < 6; ++k) x(i, k) = rng.normal_double(k) + (k == i % 4 ? distance : 0.0);
    }
    x.col(0) *= 1e4;
    x.col(1).array() += 1e3;
    x.col(5).setConstant(0.1);  // says nothing, and its mean is rounded
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(linear_probe)

BOOST_AUTO_TEST_CASE(tells_classes_that_lie_apart_and_not_labels_without_meaning) {
  const index_t n = 2'000;
  const Classes fit(n, 20, 1), held(n, 20, 2), none(n, 0, 3), none_held(n, 0, 4);
  BOOST_TEST(LinearProbe(fit.x, fit.labels, 4).accuracy(held.x, held.labels).mean == 1);
  const auto chance = LinearProbe(none.x, none.labels, 4).accuracy(none_held.x, none_held.labels);
  BOOST_TEST(std::abs(chance.mean - 0.25) <= 4 * std::sqrt(0.25 * 0.75 / double(n)));
}

/// Two classes at distance 2 d √2 are told apart by the sign of a normal number with mean d √2 and deviation 1.
BOOST_AUTO_TEST_CASE(comes_close_to_the_best_rule_for_two_normal_classes) {
  const index_t n = 20'000;
  Eigen::MatrixXd x(n, 2), held(n, 2);
  std::vector<std::int32_t> labels;
  for (index_t i = 0; i < n; ++i) {
    const sra::Rng rng(5, sra::Purpose::user, 1, i);
    labels.push_back(static_cast<std::int32_t>(i % 2));
    for (index_t k = 0; k < 2; ++k) {
      x(i, k) = rng.normal_double(k) + (i % 2 ? 0.5 : -0.5);
      held(i, k) = rng.normal_double(2 + k) + (i % 2 ? 0.5 : -0.5);
    }
  }
  const auto got = LinearProbe(x, labels, 2).accuracy(held, labels);
  const double best = 0.5 * std::erfc(-0.5 * std::sqrt(2.0) / std::sqrt(2.0));
  BOOST_TEST(std::abs(got.mean - best) <= 4 * std::sqrt(best * (1 - best) / double(n)));
  BOOST_TEST(std::abs(got.standard_error - std::sqrt(got.mean * (1 - got.mean) / double(n - 1))) <= 1e-12);
}

/// The gradient of |X W − Y|² / N + λ |W|² is zero: scores of the standardised rows leave Xᵀ (Y − X W) / N = λ W.
BOOST_AUTO_TEST_CASE(solves_its_equation) {
  const index_t n = 40;
  const double ridge = 0.25;
  const Classes data(n, 1, 6);
  const LinearProbe probe(data.x, data.labels, 4, ridge);
  Eigen::MatrixXd x = data.x.rowwise() - data.x.colwise().mean();
  for (index_t k = 0; k < 6; ++k) {
    const double deviation = std::sqrt(x.col(k).squaredNorm() / double(n));
    x.col(k) *= k < 5 ? 1 / deviation : 0;
  }
  Eigen::MatrixXd y = Eigen::MatrixXd::Constant(n, 4, -0.25);
  for (index_t i = 0; i < n; ++i) y(i, i % 4) += 1;
  const Eigen::MatrixXd predicted = probe.scores(data.x).array() - 0.25;  // X W
  const Eigen::MatrixXd force = x.transpose() * (y - predicted) / double(n);
  // X (force / λ) must be X W again.
  BOOST_TEST((x * force / ridge - predicted).cwiseAbs().maxCoeff() <= 1e-9);
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  const Classes data(8, 1, 7);
  const auto says = [](const std::string& words) {
    return [words](const sra::Error& e) {
      BOOST_TEST_MESSAGE(e.what());
      return std::string(e.what()).find(words) != std::string::npos;
    };
  };
  const LinearProbe probe(data.x, data.labels, 4);
  BOOST_CHECK_EXCEPTION(LinearProbe(data.x, data.labels, 3), sra::Error, says("labels in [0, 3), got 3"));
  BOOST_CHECK_EXCEPTION(LinearProbe(data.x, data.labels, 1), sra::Error, says("at least 2 classes, got 1"));
  BOOST_CHECK_EXCEPTION(LinearProbe(data.x, data.labels, 4, 0), sra::Error, says("ridge: expected a number > 0"));
  BOOST_CHECK_EXCEPTION(LinearProbe(data.x.topRows(7), data.labels, 4), sra::Error, says("each of 7 rows"));
  BOOST_CHECK_EXCEPTION(probe.accuracy(data.x.topRows(7), data.labels), sra::Error, says("each of 7 rows"));
  BOOST_CHECK_EXCEPTION(probe.scores(data.x.leftCols(5)), sra::Error, says("rows of 6 numbers, got 5"));
}

BOOST_AUTO_TEST_SUITE_END()
