// Checks that the order of an epoch is a permutation, a fresh and fair one for every seed and epoch.
// SPDX-License-Identifier: MIT
#include <sra/data/shuffle.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <initializer_list>
#include <map>
#include <vector>

namespace {

using sra::index_t;
using sra::shuffled;

std::vector<index_t> order(std::uint64_t seed, index_t epoch, index_t n) {
  std::vector<index_t> items;
  for (index_t i = 0; i < n; ++i) items.push_back(shuffled(seed, epoch, i, n));
  return items;
}

bool is_permutation(const std::vector<index_t>& items) {
  std::vector<bool> seen(items.size());
  for (const index_t i : items) {
    if (i < 0 || static_cast<std::size_t>(i) >= items.size() || seen[static_cast<std::size_t>(i)]) return false;
    seen[static_cast<std::size_t>(i)] = true;
  }
  return true;
}

// Whether counts of equally likely events are within five deviations of χ², plus its skewed tail.
bool fair(const std::vector<int>& count, int draws) {
  const double want = draws / static_cast<double>(count.size()), freedom = static_cast<double>(count.size() - 1);
  double chi = 0;
  for (const int c : count) chi += (c - want) * (c - want) / want;
  return chi <= freedom + 5 * std::sqrt(2 * freedom) + 25;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shuffle)

BOOST_AUTO_TEST_CASE(every_epoch_is_a_permutation) {
  for (index_t n = 1; n <= 70; ++n)
    for (index_t epoch = 0; epoch < 3; ++epoch) BOOST_TEST(is_permutation(order(7, epoch, n)), "n = " << n);
  for (const index_t n : {255, 256, 257, 1021, 1024, 4096, 4097, 50000}) BOOST_TEST(is_permutation(order(0, 0, n)));
}

BOOST_AUTO_TEST_CASE(epochs_and_seeds_have_different_orders) {
  const auto one = order(1, 0, 1000);
  BOOST_TEST((order(1, 0, 1000) == one));
  for (const auto& other : {order(1, 1, 1000), order(2, 0, 1000), order(0, 1, 1000)}) {
    int same = 0;  // Poisson with mean 1
    for (std::size_t i = 0; i < one.size(); ++i) same += one[i] == other[i];
    BOOST_TEST(same < 12);
  }
}

BOOST_AUTO_TEST_CASE(all_orders_of_few_items_are_equally_likely) {
  for (const index_t n : {2, 3, 4}) {
    std::map<std::vector<index_t>, int> seen;
    const int draws = 24000;
    for (int epoch = 0; epoch < draws; ++epoch) ++seen[order(3, epoch, n)];
    std::vector<int> count;
    for (const auto& [items, times] : seen) count.push_back(times);
    BOOST_TEST(static_cast<index_t>(count.size()) == (n == 2 ? 2 : n == 3 ? 6 : 24));
    BOOST_TEST(fair(count, draws));
  }
}

BOOST_AUTO_TEST_CASE(pairs_of_positions_get_all_pairs_of_items_equally_often) {
  const index_t n = 20;
  std::vector<int> count(static_cast<std::size_t>(n * n)), apart;
  const int draws = 100000;
  for (int epoch = 0; epoch < draws; ++epoch)
    ++count[static_cast<std::size_t>(shuffled(5, epoch, 6, n) * n + shuffled(5, epoch, 7, n))];
  for (index_t a = 0; a < n; ++a)
    for (index_t b = 0; b < n; ++b)
      if (a != b) apart.push_back(count[static_cast<std::size_t>(a * n + b)]);
  BOOST_TEST(fair(apart, draws));
}

BOOST_AUTO_TEST_CASE(large_sets_need_no_memory) {
  const index_t n = (index_t{1} << 62) - 57;
  for (index_t i : {index_t{0}, index_t{1}, n / 2, n - 1}) {
    const index_t item = shuffled(9, 1, i, n);
    BOOST_TEST((item >= 0 && item < n));
  }
}

BOOST_AUTO_TEST_SUITE_END()
