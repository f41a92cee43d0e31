// Tensors in host memory as matrices of Eigen: for probes, PCA and other mathematics beside the training.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/core/view.hpp>

#include <Eigen/Core>

#include <type_traits>

namespace sra {

/// A matrix of Eigen over a view's memory, one row for each row of the view's last extent; the elements stay where they are.
/// @param view in host memory, its rows at one constant distance  @return Eigen::Map of [rows, width]
/// @throws Error if the rows do not lie at one constant distance
template <class T, class S>
auto as_eigen(View<T, S> view) {
  using Element = std::remove_const_t<T>;
  using Matrix = Eigen::Matrix<Element, Eigen::Dynamic, static_cast<int>(S::width),
                               S::width == 1 ? Eigen::ColMajor : Eigen::RowMajor>;
  using Target = std::conditional_t<std::is_const_v<T>, const Matrix, Matrix>;
  if (!view.uniform()) throw Error("as_eigen: expected rows at one constant distance, got a part of a larger tensor");
  if constexpr (S::width == 1)
    return Eigen::Map<Target, 0, Eigen::InnerStride<>>(view.data, view.shape.rows(), 1,
                                                       Eigen::InnerStride<>(view.row_stride()));
  else
    return Eigen::Map<Target, 0, Eigen::OuterStride<>>(view.data, view.shape.rows(), S::width,
                                                       Eigen::OuterStride<>(view.row_stride()));
}

}  // namespace sra
