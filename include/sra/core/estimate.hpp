// A mean with its standard error, also of differences between pairs.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

namespace sra {

/// A mean and its standard error, from one number a sample.
struct Estimate {
  double mean = 0, standard_error = 0;

  static Estimate of(std::span<const double> values) {
    const double n = static_cast<double>(values.size());
    double sum = 0, squares = 0;
    for (const double v : values) sum += v;
    for (const double v : values) squares += (v - sum / n) * (v - sum / n);
    return {sum / n, n > 1 ? std::sqrt(squares / (n - 1) / n) : 0.0};
  }
};

/// b − a sample by sample: of two runs on the same draws, far more exact than the difference of two means.
/// @throws Error unless both have the same number of samples
inline Estimate paired_difference(std::span<const double> a, std::span<const double> b) {
  if (a.size() != b.size() || a.empty())
    throw Error(text("paired_difference: expected the same samples twice, got ", a.size(), " and ", b.size()));
  std::vector<double> difference;
  for (std::size_t i = 0; i < a.size(); ++i) difference.push_back(b[i] - a[i]);
  return Estimate::of(difference);
}

}  // namespace sra
