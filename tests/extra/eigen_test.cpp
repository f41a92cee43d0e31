// Tests tensors seen as matrices of Eigen: places of elements, gaps, columns, constness.
// SPDX-License-Identifier: MIT
#include <sra/extra/eigen.hpp>

#include <boost/test/unit_test.hpp>

#include <numeric>
#include <utility>
#include <vector>

using sra::dynamic, sra::index_t, sra::Shape, sra::View;

BOOST_AUTO_TEST_CASE(rows_of_the_matrix_are_rows_of_the_view) {
  std::vector<float> x(100);
  std::iota(x.begin(), x.end(), 0.0f);
  const View<float, Shape<dynamic, 3, 5>> view{x.data(), {2}, 7, 21};
  auto m = sra::as_eigen(view);
  BOOST_TEST((m.rows() == 6 && m.cols() == 5));
  for (index_t r = 0; r < 6; ++r)
    for (index_t i = 0; i < 5; ++i) BOOST_TEST(m(r, i) == view.row(r)[i]);
  m.row(4) *= 2;
  BOOST_TEST(view.row(1, 1)[3] == 2.0f * (21 + 7 + 3));
}

BOOST_AUTO_TEST_CASE(a_column_keeps_its_distance_and_constants_stay_constant) {
  std::vector<double> x(12);
  std::iota(x.begin(), x.end(), 0.0);
  const View<const double, Shape<dynamic, 1>> column{x.data(), {4}, 3, 3};
  const auto m = sra::as_eigen(column);
  BOOST_TEST(m.sum() == 0.0 + 3 + 6 + 9);
  BOOST_TEST((sra::as_eigen(sra::dense(std::as_const(x).data(), Shape<3, 4>{})).transpose().rows() == 4));
}

BOOST_AUTO_TEST_CASE(rows_at_several_distances_are_refused) {
  std::vector<float> x(100);
  const View<float, Shape<dynamic, 3, 5>> view{x.data(), {2}, 7, 50};
  BOOST_CHECK_THROW(sra::as_eigen(view), sra::Error);
}
