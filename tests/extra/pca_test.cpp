// Tests principal components: known directions, several tensors in one basis, signs, what is refused.
// SPDX-License-Identifier: MIT
#include <sra/core/philox.hpp>
#include <sra/extra/pca.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <limits>
#include <string>

using sra::index_t, sra::Pca;

namespace {

/// Rows around a mean, with standard deviations 3, 2, 1 and 0 along the columns of a rotation.
struct Cloud {
  Eigen::MatrixXd rotation, x;
  Eigen::Vector4d mean{5, -2, 0, 1};

  explicit Cloud(index_t n) : rotation(4, 4), x(n, 4) {
    // A Hadamard matrix: exact, and no axis is a coordinate.
    rotation << 1, 1, 1, 1, 1, -1, 1, -1, 1, 1, -1, -1, 1, -1, -1, 1;
    rotation /= 2;
    for (index_t i = 0; i < n; ++i) {
      const sra::Rng rng(3, sra::Purpose::user, 0, i);
      const Eigen::Vector4d along(3 * rng.normal_double(0), 2 * rng.normal_double(1), rng.normal_double(2), 0);
      x.row(i) = (mean + rotation * along).transpose();
    }
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(pca)

BOOST_AUTO_TEST_CASE(finds_the_directions_and_variances_of_a_cloud) {
  const index_t n = 20'000;
  const Cloud cloud(n);
  const Pca p = Pca::of(cloud.x, 3);
  // Of n draws a variance v is known to v √(2 / n), a direction to the root of 1 / n times √(v w) / (v − w): four of them.
  const double error = 4 / std::sqrt(double(n));
  const double variances[] = {9, 4, 1}, directions[] = {6.0 / 5, 6.0 / 5, 2.0 / 3};
  for (index_t k = 0; k < 3; ++k) {
    BOOST_TEST(std::abs(p.variance(k) - variances[k]) <= error * std::sqrt(2) * variances[k]);
    const double cosine = std::abs(p.axes.col(k).dot(cloud.rotation.col(k)));
    BOOST_TEST(1 - cosine <= error * error * directions[k] * directions[k]);
  }
  BOOST_TEST(std::abs(p.total - p.variance.sum()) <= 1e-12 * p.total);  // the fourth direction has none
  BOOST_TEST((p.mean - cloud.mean).norm() <= error * std::sqrt(14.0));
}

BOOST_AUTO_TEST_CASE(axes_are_orthonormal_and_have_a_sign) {
  const Pca p = Pca::of(Cloud(50).x, 4);
  const double eps = 16 * std::numeric_limits<double>::epsilon();
  BOOST_TEST((p.axes.transpose() * p.axes - Eigen::MatrixXd::Identity(4, 4)).cwiseAbs().maxCoeff() <= eps);
  for (index_t k = 0; k < 4; ++k) BOOST_TEST(p.axes.col(k).maxCoeff() >= -p.axes.col(k).minCoeff() - eps);
  for (index_t k = 1; k < 4; ++k) BOOST_TEST(p.variance(k - 1) >= p.variance(k));
}

/// All axes: coordinates turn back into the rows, and have the variances.
BOOST_AUTO_TEST_CASE(coordinates_are_a_rotation_of_the_rows) {
  const Cloud cloud(50);
  const Pca p = Pca::of(cloud.x, 4);
  const Eigen::MatrixXd y = p.project(cloud.x), back = (y * p.axes.transpose()).rowwise() + p.mean.transpose();
  BOOST_TEST((back - cloud.x).cwiseAbs().maxCoeff() <= 64 * std::numeric_limits<double>::epsilon() * 20);
  for (index_t k = 0; k < 4; ++k)
    BOOST_TEST(std::abs(y.col(k).squaredNorm() / 50 - p.variance(k)) <= 1e-12 * p.variance(0));
}

BOOST_AUTO_TEST_CASE(takes_features_as_they_lie_in_memory) {
  std::vector<float> x;
  for (int i = 0; i < 24; ++i) x.push_back(static_cast<float>(i * i % 7));
  const auto rows = sra::as_eigen(sra::dense(x.data(), sra::Shape<sra::dynamic, 4, 3>{2}));  // 8 rows
  const Pca p = Pca::of(rows, 2);
  BOOST_TEST((p.axes.rows() == 3 && p.project(rows).rows() == 8));
}

BOOST_AUTO_TEST_CASE(what_does_not_fit_is_refused) {
  const Cloud cloud(5);
  const auto says = [](const std::string& words) {
    return [words](const sra::Error& e) { return std::string(e.what()) == words; };
  };
  BOOST_CHECK_EXCEPTION(Pca::of(cloud.x, 5), sra::Error, says("Pca: expected from 1 to 4 components, got 5"));
  BOOST_CHECK_EXCEPTION(Pca::of(cloud.x, 0), sra::Error, says("Pca: expected from 1 to 4 components, got 0"));
  BOOST_CHECK_EXCEPTION(Pca::of(cloud.x.topRows(1), 1), sra::Error, says("Pca: expected at least 2 rows, got 1"));
  BOOST_CHECK_EXCEPTION(Pca::of(cloud.x, 2).project(cloud.x.leftCols(3)), sra::Error,
                        says("Pca: expected rows of 4 numbers, got 3"));
}

BOOST_AUTO_TEST_SUITE_END()
