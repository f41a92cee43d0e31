// Tests that two translation units with the whole library link into one program, and that both train.
// SPDX-License-Identifier: MIT
#include "train.hpp"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(linkage)

BOOST_AUTO_TEST_CASE(both_units_train_to_the_same_loss) {
  const double here = two_units::trained();
  BOOST_TEST(here > 0);
  BOOST_TEST(two_units::trained_elsewhere() == here);
}

BOOST_AUTO_TEST_SUITE_END()
