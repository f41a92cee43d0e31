// Tests a data set of a user's whose samples carry a condition's numbers and features; examples/07_dataset trains on such.
// SPDX-License-Identifier: MIT
#include "waves.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <string>

namespace {

/// Waves of which one item has a condition that was not written.
struct Broken : lab::LabelledWaves {
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    LabelledWaves::read(i, rng, out);
    if (i == 17) out.condition[1] = NAN;
    if (i == 23) out.features[3] = INFINITY;
  }
};

std::string complaint(std::size_t item) {
  sra::Batch<lab::Wave> batch(1);
  try {
    sra::read_checked(Broken{}, item, sra::Rng(1, sra::Purpose::data, 0, 0), batch.row(0));
  } catch (const sra::Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dataset)

BOOST_AUTO_TEST_CASE(rows_of_a_batch_hold_all_fields) {
  const lab::LabelledWaves data;
  sra::Batch<lab::Wave> batch(3);
  for (sra::index_t b = 0; b < 3; ++b)
    sra::read_checked(data, static_cast<std::size_t>(b + 4), sra::Rng(1, sra::Purpose::data, 0, b), batch.row(b));
  BOOST_TEST(batch.conditions().size() == 6u);
  BOOST_TEST(batch.features().size() == 3u * 40);
  for (std::size_t b = 0; b < 3; ++b) {
    BOOST_TEST(batch.conditions()[2 * b] == 1.0f + static_cast<float>((b + 4) % 3));
    BOOST_TEST(batch.conditions()[2 * b + 1] == 1.0f + static_cast<float>((b + 4) % 5));
    BOOST_TEST(batch.features()[40 * b + 39] ==
               sra::Rng(1, sra::Purpose::data, 0, b).normal(39) + batch.conditions()[2 * b]);
  }
}

BOOST_AUTO_TEST_CASE(a_number_that_is_not_finite_is_named) {
  BOOST_TEST(complaint(17) == "data: item 17: expected finite values, got nan in condition 1");
  BOOST_TEST(complaint(23) == "data: item 23: expected finite values, got inf in feature 3");
  BOOST_TEST(complaint(5) == "");
}

BOOST_AUTO_TEST_SUITE_END()
