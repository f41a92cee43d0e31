// Distances to nearest neighbours: whether samples repeat one another, or what they were trained on.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/extra/eigen.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <vector>

namespace sra {

/// Root mean squared difference of every row from the row that is most like it among the others.  Computed from differences, so
/// that a row that comes twice is at distance 0.
/// @param x [N, D], N at least 2  @return [N]  @throws Error for fewer than two rows
template <class X>
std::vector<double> nearest_distances(const Eigen::MatrixBase<X>& x) {
  if (x.rows() < 2 || x.cols() < 1)
    throw Error(text("nearest_distances: expected at least 2 rows of numbers, got ", x.rows(), " of ", x.cols()));
  std::vector<double> nearest(static_cast<std::size_t>(x.rows()), std::numeric_limits<double>::infinity());
  const Eigen::MatrixXf columns = x.template cast<float>().transpose();
  for (index_t i = 0; i < x.rows(); ++i)
    for (index_t j = 0; j < i; ++j) {
      const double squares = static_cast<double>((columns.col(i) - columns.col(j)).squaredNorm());
      for (const index_t k : {i, j}) {
        double& least = nearest[static_cast<std::size_t>(k)];
        least = std::min(least, squares);
      }
    }
  for (double& d : nearest) d = std::sqrt(d / static_cast<double>(x.cols()));
  return nearest;
}

}  // namespace sra
