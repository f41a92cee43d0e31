// What tensor_statistics() must say of a trainer, from copies of its numbers before and after a step.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/schedule.hpp>
#include <sra/train/tensor_statistics.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace sra::test {

/// Of n numbers, which a backend may add up in any order: each addition is off by at most 2^-53 of what it makes.
template <class W>
void expect_statistics(const Statistics& s, const std::vector<W>& x) {
  double sum = 0, magnitude = 0, squares = 0;
  for (const W v : x) {
    const auto number = static_cast<double>(v);
    sum += number, magnitude += std::abs(number), squares += number * number;
  }
  const double allowed = 2 * static_cast<double>(x.size()) * 0x1p-53;
  BOOST_TEST(s.count == static_cast<index_t>(x.size()));
  BOOST_TEST(s.non_finite == 0);
  BOOST_TEST(s.min == static_cast<double>(*std::min_element(x.begin(), x.end())));
  BOOST_TEST(s.max == static_cast<double>(*std::max_element(x.begin(), x.end())));
  BOOST_TEST(std::abs(s.sum - sum) <= allowed * magnitude);
  BOOST_TEST(std::abs(s.squares - squares) <= allowed * squares);
}

/// The values of all parameters.
template <class Trainer>
std::vector<std::vector<typename Trainer::W>> weights_of(const Trainer& t) {
  std::vector<std::vector<typename Trainer::W>> all;
  for (const ParamInfo& p : t.engine().store().parameters()) all.push_back(t.parameter_values(p.name));
  return all;
}

/// After a step that was not skipped.  It made p = keep p_before − step d, rounded twice, and 5 times within
/// step d, which moves the update by u (|p_before| + |p| / keep + 5 |step d| / keep) <= u (3 |p| + 6 |update|) while
/// keep >= 0.9.  Beside it, n squares are added up in double twice, and an update takes less than 16 operations in double.
template <class Trainer>
void expect_tensor_statistics(Trainer& t, const std::vector<std::vector<typename Trainer::W>>& before) {
  using W = typename Trainer::W;
  constexpr double u = static_cast<double>(std::numeric_limits<W>::epsilon()) / 2;
  const std::vector<TensorStatistics> all = t.tensor_statistics();
  const std::vector<ParamInfo>& list = t.engine().store().parameters();
  BOOST_TEST_REQUIRE(all.size() == list.size());
  double worst = 0;
  for (std::size_t k = 0; k < all.size(); ++k) BOOST_TEST_CONTEXT(all[k].name) {
      BOOST_TEST(all[k].name == list[k].name);
      const auto after = t.parameter_values(list[k].name);
      expect_statistics(all[k].weight, after);
      expect_statistics(all[k].gradient, t.gradient_values(list[k].name));
      double value = 0, change = 0;
      for (std::size_t i = 0; i < after.size(); ++i) {
        const double p = static_cast<double>(after[i]), d = p - static_cast<double>(before[k][i]);
        value += p * p, change += d * d;
      }
      const double norm = std::sqrt(change), sums = 0x1p-53 * (static_cast<double>(after.size()) + 16);
      const double allowed = u * (3 * std::sqrt(value) + 6 * norm) + sums * norm;
      const double error = std::abs(all[k].update.norm() - norm);
      BOOST_TEST(error <= allowed);
      if (change > 0) worst = std::max(worst, error / allowed);
      BOOST_TEST((change > 0) == (all[k].update.norm() > 0));
      BOOST_TEST(all[k].update_ratio() == (change > 0 ? all[k].update.norm() / all[k].weight.norm() : 0));
    }
  BOOST_TEST_MESSAGE("updates: " << worst << " of the allowed error");
  BOOST_TEST(worst > 0);
}

/// Whether all statistics have the same bits.
inline bool same(const Statistics& a, const Statistics& b) {
  return a.count == b.count && a.non_finite == b.non_finite && a.sum == b.sum && a.squares == b.squares &&
         a.min == b.min && a.max == b.max;
}
inline bool same(const std::vector<TensorStatistics>& a, const std::vector<TensorStatistics>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const TensorStatistics& x, const TensorStatistics& y) {
    return x.name == y.name && same(x.weight, y.weight) && same(x.gradient, y.gradient) && same(x.update, y.update);
  });
}

/// How many parameters a step changed.
inline std::ptrdiff_t updated(const std::vector<TensorStatistics>& all) {
  return std::count_if(all.begin(), all.end(), [](const TensorStatistics& t) { return t.update.squares > 0; });
}

}  // namespace sra::test
