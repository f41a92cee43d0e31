// Tests distances to nearest neighbours: known ones, repetitions, what is refused.
// SPDX-License-Identifier: MIT
#include <sra/extra/neighbours.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <vector>

BOOST_AUTO_TEST_SUITE(neighbours)

BOOST_AUTO_TEST_CASE(every_row_has_the_distance_to_the_row_most_like_it) {
  Eigen::MatrixXd x(5, 2);
  x << 0, 0, 3, 4, 100, 0, 3, 5, 100, 0;
  const std::vector<double> expected{5 / std::sqrt(2.0), 1 / std::sqrt(2.0), 0, 1 / std::sqrt(2.0), 0};
  const auto d = sra::nearest_distances(x);
  BOOST_TEST_REQUIRE(d.size() == 5u);
  for (std::size_t i = 0; i < 5; ++i) BOOST_TEST(std::abs(d[i] - expected[i]) <= 1e-15 * 8);
}

BOOST_AUTO_TEST_CASE(a_row_that_comes_twice_is_at_distance_zero_however_large_it_is) {
  Eigen::MatrixXf x = Eigen::MatrixXf::Constant(2, 3, 1e6f);
  BOOST_TEST(sra::nearest_distances(x)[0] == 0);
  x(1, 2) += 0.5f;
  BOOST_TEST(std::abs(sra::nearest_distances(x)[1] - 0.5 / std::sqrt(3.0)) <= 1e-15);
}

BOOST_AUTO_TEST_CASE(one_row_has_no_neighbour) {
  BOOST_CHECK_THROW(sra::nearest_distances(Eigen::MatrixXf::Zero(1, 3)), sra::Error);
}

BOOST_AUTO_TEST_SUITE_END()
