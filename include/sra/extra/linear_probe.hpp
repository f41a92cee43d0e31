// A linear probe: how well classes can be read off features by a linear map, in closed form.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/extra/eigen.hpp>
#include <sra/train/validation.hpp>

#include <Eigen/Cholesky>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sra {

/// Ridge regression of one-hot classes on standardised features: (XᵀX / N + λ I) W = XᵀY / N, X with mean 0 and variance 1 in
/// every column, Y with mean 0.  A row belongs to the class of the largest score.
class LinearProbe {
 public:
  /// Fits in double.  A column that does not vary is left out.
  /// @param x [N, D] features, such as means over tokens  @param labels [N] in [0, classes)  @param ridge λ > 0
  /// @throws Error for sizes, labels and λ out of range
  template <class X>
  LinearProbe(const Eigen::MatrixBase<X>& x, std::span<const std::int32_t> labels, index_t classes,
              double ridge = 1e-3) {
    check(x, labels, classes);
    if (x.rows() < 2) throw Error(text("LinearProbe: expected at least 2 rows, got ", x.rows()));
    if (!(ridge > 0)) throw Error(text("LinearProbe: ridge: expected a number > 0, got ", ridge));
    const auto n = static_cast<double>(x.rows());
    Eigen::MatrixXd centred = x.template cast<double>();
    mean_ = centred.colwise().mean();
    centred.rowwise() -= mean_.transpose();
    scale_ = (centred.colwise().squaredNorm() / n).cwiseSqrt();
    for (index_t k = 0; k < scale_.size(); ++k)
      scale_(k) = scale_(k) > 1e-12 * std::abs(mean_(k)) ? 1 / scale_(k) : 0;  // below that it is rounding
    centred = centred * scale_.asDiagonal();

    Eigen::MatrixXd wanted = Eigen::MatrixXd::Zero(x.rows(), classes);
    for (index_t i = 0; i < x.rows(); ++i) wanted(i, labels[static_cast<std::size_t>(i)]) = 1;
    bias_ = wanted.colwise().mean();
    wanted.rowwise() -= bias_.transpose();
    Eigen::MatrixXd gram = centred.transpose() * centred / n;
    gram.diagonal().array() += ridge;
    weights_ = gram.llt().solve(centred.transpose() * wanted / n);
  }

  /// Scores of rows.  @param x [N, D]  @return [N, classes]
  template <class X>
  Eigen::MatrixXd scores(const Eigen::MatrixBase<X>& x) const {
    if (x.cols() != mean_.size())
      throw Error(text("LinearProbe: expected rows of ", mean_.size(), " numbers, got ", x.cols()));
    const Eigen::MatrixXd y =
        (x.template cast<double>().rowwise() - mean_.transpose()) * scale_.asDiagonal() * weights_;
    return y.rowwise() + bias_.transpose();
  }

  /// The share of rows, which the probe has not been fitted to, whose class it tells, with its standard error.
  /// @param x [N, D]  @param labels [N] in [0, classes)
  template <class X>
  Estimate accuracy(const Eigen::MatrixBase<X>& x, std::span<const std::int32_t> labels) const {
    check(x, labels, weights_.cols());
    const Eigen::MatrixXd y = scores(x);
    std::vector<double> hits;
    for (index_t i = 0; i < x.rows(); ++i) {
      index_t best = 0;
      y.row(i).maxCoeff(&best);
      hits.push_back(best == labels[static_cast<std::size_t>(i)] ? 1.0 : 0.0);
    }
    return Estimate::of(hits);
  }

 private:
  template <class X>
  static void check(const Eigen::MatrixBase<X>& x, std::span<const std::int32_t> labels, index_t classes) {
    if (classes < 2) throw Error(text("LinearProbe: expected at least 2 classes, got ", classes));
    if (x.rows() != std::ssize(labels) || x.rows() < 1)
      throw Error(
          text("LinearProbe: expected a label for each of ", x.rows(), " rows, at least 1, got ", labels.size()));
    for (const std::int32_t label : labels)
      if (label < 0 || label >= classes)
        throw Error(text("LinearProbe: expected labels in [0, ", classes, "), got ", label));
  }

  Eigen::VectorXd mean_, scale_, bias_;
  Eigen::MatrixXd weights_;  // [D, classes]
};

}  // namespace sra
