// Tests static shapes: extents, sizes, rows, and what is derived from them.
// SPDX-License-Identifier: MIT
#include <sra/core/shape.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <type_traits>

using sra::dynamic;
using sra::Shape;

BOOST_AUTO_TEST_SUITE(shape)

BOOST_AUTO_TEST_CASE(a_batch_has_samples_of_rows_of_elements) {
  const Shape<dynamic, 3, 5> tokens{7};
  BOOST_TEST(tokens.rank == 3);
  BOOST_TEST(tokens.batched);
  BOOST_TEST(tokens.samples() == 7);
  BOOST_TEST(tokens.rows() == 21);
  BOOST_TEST(tokens.size() == 105);
  BOOST_TEST(tokens.sample_size() == 15);
  BOOST_TEST(tokens.sample_rows == 3);
  BOOST_TEST(tokens.width == 5);
  const Shape<dynamic, 2, 3, 4> image{5};
  BOOST_TEST(image.sample_rows == 6);
  BOOST_TEST(image.rows() == 30);
}

BOOST_AUTO_TEST_CASE(without_a_batch_there_is_one_sample) {
  const Shape<3, 5> table{};
  BOOST_TEST(!table.batched);
  BOOST_TEST(table.samples() == 1);
  BOOST_TEST(table.rows() == 3);
  BOOST_TEST(table.size() == 15);
  BOOST_TEST((Shape<8>{}.rows()) == 1);
  BOOST_TEST((Shape<8>{}.width) == 8);
}

BOOST_AUTO_TEST_CASE(the_batch_alone_is_a_column) {
  const Shape<dynamic> column{6};
  BOOST_TEST(column.width == 1);
  BOOST_TEST(column.sample_rows == 1);
  BOOST_TEST(column.rows() == 6);
  BOOST_TEST(column.size() == 6);
}

BOOST_AUTO_TEST_CASE(shapes_are_derived_from_shapes) {
  using S = Shape<dynamic, 3, 5>;
  BOOST_TEST((std::is_same_v<sra::with_last<S, 9>, Shape<dynamic, 3, 9>>));
  BOOST_TEST((std::is_same_v<sra::with_extent<S, 1, 8>, Shape<dynamic, 8, 5>>));
  BOOST_TEST((std::is_same_v<sra::with_extent<S, 0, 2>, Shape<2, 3, 5>>));
  BOOST_TEST((std::is_same_v<sra::without_axis<S, 0>, Shape<3, 5>>));
  BOOST_TEST((std::is_same_v<sra::without_axis<S, 1>, Shape<dynamic, 5>>));
  BOOST_TEST((std::is_same_v<sra::without_axis<S, 2>, Shape<dynamic, 3>>));
}

BOOST_AUTO_TEST_CASE(a_shape_is_printed_with_its_batch) {
  BOOST_TEST(to_string(Shape<dynamic, 16, 64>{3}) == "[3, 16, 64]");
  BOOST_TEST(to_string(Shape<7>{}) == "[7]");
}

BOOST_AUTO_TEST_CASE(round_up_goes_to_the_next_multiple) {
  BOOST_TEST(sra::round_up(0, 8) == 0);
  BOOST_TEST(sra::round_up(1, 8) == 8);
  BOOST_TEST(sra::round_up(8, 8) == 8);
  BOOST_TEST(sra::round_up(9, 8) == 16);
}

BOOST_AUTO_TEST_SUITE_END()
