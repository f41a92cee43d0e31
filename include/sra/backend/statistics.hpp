// Statistics of parameter tensors, from the flat buffers that updates work on: the same text on every backend.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/settings.hpp>

#include <cmath>
#include <limits>

namespace sra {

/// What a set of numbers is like.  Numbers that are not finite are counted and left out of everything else.
struct Statistics {
  static constexpr double infinity = std::numeric_limits<double>::infinity();

  index_t count = 0;                       ///< of finite numbers
  index_t non_finite = 0;                  ///< of the others
  double sum = 0, squares = 0;             ///< Σ x, Σ x²
  double min = infinity, max = -infinity;  ///< of no numbers: infinite

  /// √(Σ x²), √(Σ x² / n) and Σ x / n; 0 of no numbers.
  double norm() const { return std::sqrt(squares); }
  double rms() const { return count > 0 ? std::sqrt(squares / static_cast<double>(count)) : 0; }
  double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  /// √(rms² − mean²), the deviation of all numbers and not of a sample: below rms · 2^-26 √n it is what rounding left.
  double deviation() const {
    const double variance = rms() * rms() - mean() * mean();
    return variance > 0 ? std::sqrt(variance) : 0;
  }

  SRA_FN void add(double x) {
    if (!(x - x == 0)) {  // infinite or NaN
      ++non_finite;
      return;
    }
    ++count;
    sum += x;
    squares += x * x;
    min = x < min ? x : min;
    max = x > max ? x : max;
  }
  /// Takes in the numbers of another set.  Counts, min and max do not depend on the order, sums but for rounding.
  SRA_FN void add(const Statistics& other) {
    count += other.count;
    non_finite += other.non_finite;
    sum += other.sum;
    squares += other.squares;
    min = other.min < min ? other.min : min;
    max = other.max > max ? other.max : max;
  }
};

/// Of one parameter tensor.
struct ParameterStatistics {
  Statistics weight, gradient, update;

  SRA_FN void add(const ParameterStatistics& other) {
    weight.add(other.weight);
    gradient.add(other.gradient);
    update.add(other.update);
  }
};

/// Where a parameter lies in the flat buffers, and whether the last update changed it.
struct ParameterRange {
  index_t offset = 0, size = 0;
  bool updated = false;
};

/// The flat buffers after an update, and the numbers it was made with.  No copy of the weights before it is needed: the
/// update left p = keep p_before − step d with d = m / (√v / over_root + eps), see update_parameters, so that
/// p − p_before = −((1 − keep) p + step d) / keep, in double and before p was rounded.
template <class W>
struct UpdatedBuffers {
  /// Elements that one call takes in; parameters begin at multiples of it.
  static constexpr index_t chunk = 64;

  const W *master = nullptr, *m = nullptr, *v = nullptr, *gradient = nullptr;
  UpdateState<W> numbers{};

  /// What elements [chunk i, chunk (i + 1)) of the buffers, one after the other, add to the statistics of the parameter
  /// that they belong to; the padding behind the parameter adds nothing.
  SRA_FN ParameterStatistics operator()(const ParameterRange& p, index_t i) const {
    const index_t end = p.offset + p.size, last = chunk * (i + 1) < end ? chunk * (i + 1) : end;
    ParameterStatistics s;
    for (index_t at = chunk * i; at < last; ++at) {
      s.weight.add(static_cast<double>(master[at]));
      s.gradient.add(static_cast<double>(gradient[at]));
      s.update.add(p.updated ? update_of(at) : 0.0);
    }
    return s;
  }

 private:
  SRA_FN double update_of(index_t at) const {
    const double keep = static_cast<double>(numbers.keep), step = static_cast<double>(numbers.step);
    const double root = std::sqrt(static_cast<double>(v[at])) / static_cast<double>(numbers.over_root);
    const double d = static_cast<double>(m[at]) / (root + static_cast<double>(numbers.eps));
    return -((1 - keep) * static_cast<double>(master[at]) + step * d) / keep;
  }
};

}  // namespace sra
