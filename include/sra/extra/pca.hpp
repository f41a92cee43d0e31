// Principal components of rows of numbers, for pictures of features.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/extra/eigen.hpp>

#include <Eigen/Eigenvalues>

namespace sra {

/// A few directions along which rows differ most.
struct Pca {
  Eigen::VectorXd mean;      ///< [D]
  Eigen::MatrixXd axes;      ///< [D, K], orthonormal, by falling variance; each has its largest element positive
  Eigen::VectorXd variance;  ///< [K] of the rows along the axes, divided by their number
  double total = 0;          ///< the sum of the variances of all D columns

  /// The K leading principal components of all rows: for one basis of several tensors, put their rows one below the other.  In
  /// double, by the eigenvectors of the covariance [D, D].
  /// @param x [N, D]  @param count K, from 1 to D  @throws Error for fewer than two rows and for counts out of range
  template <class X>
  static Pca of(const Eigen::MatrixBase<X>& x, index_t count) {
    if (x.rows() < 2) throw Error(text("Pca: expected at least 2 rows, got ", x.rows()));
    if (count < 1 || count > x.cols())
      throw Error(text("Pca: expected from 1 to ", x.cols(), " components, got ", count));
    Pca p;
    Eigen::MatrixXd centred = x.template cast<double>();
    p.mean = centred.colwise().mean();
    centred.rowwise() -= p.mean.transpose();
    const Eigen::MatrixXd covariance = centred.transpose() * centred / static_cast<double>(x.rows());
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(covariance);  // by rising eigenvalues
    p.axes = solver.eigenvectors().rightCols(count).rowwise().reverse();
    p.variance = solver.eigenvalues().tail(count).reverse().cwiseMax(0.0);
    p.total = covariance.trace();
    for (index_t k = 0; k < count; ++k) {
      index_t largest = 0;
      p.axes.col(k).cwiseAbs().maxCoeff(&largest);
      if (p.axes(largest, k) < 0) p.axes.col(k) *= -1;
    }
    return p;
  }

  /// Coordinates along the axes.  @param x [N, D]  @return [N, K]
  template <class X>
  Eigen::MatrixXd project(const Eigen::MatrixBase<X>& x) const {
    if (x.cols() != mean.size()) throw Error(text("Pca: expected rows of ", mean.size(), " numbers, got ", x.cols()));
    return (x.template cast<double>().rowwise() - mean.transpose()) * axes;
  }
};

}  // namespace sra
