// Tests the grid: the rule from numbers to bytes on exact values, the place of every pixel, NaN, odd channel counts.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "png_picture.hpp"

#include <sra/io/grid.hpp>

#include <boost/test/unit_test.hpp>
#include <png.h>  // tests/CMakeLists.txt links what a source includes

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

constexpr float not_a_number = std::numeric_limits<float>::quiet_NaN();
constexpr float infinity = std::numeric_limits<float>::infinity();

/// The value in the middle of a byte's interval.
float shown_as(int byte) { return (static_cast<float>(byte) + 0.5f) / 255.0f * 2.0f - 1.0f; }

}  // namespace

BOOST_AUTO_TEST_SUITE(grid)

BOOST_AUTO_TEST_CASE(values_are_truncated_not_rounded) {
  BOOST_TEST(pixel_value(-1.0f) == 0);
  BOOST_TEST(pixel_value(1.0f) == 255);
  BOOST_TEST(pixel_value(0.0f) == 127);             // 127.5
  BOOST_TEST(pixel_value(0.5f) == 191);             // 191.25
  BOOST_TEST(pixel_value(0.75f) == 223);            // 223.125
  BOOST_TEST(pixel_value(-0.0078125f) == 126);      // 126.50390625
  BOOST_TEST(pixel_value(0.99609375f) == 254);      // 254.501953125
  BOOST_TEST(pixel_value(1.0f - 0x1p-22f) == 254);  // 255 - 255 * 2^-23, rounded to 254.99997
  BOOST_TEST(pixel_value(1.0f - 0x1p-24f) == 255);  // x + 1 is 2 in float
  BOOST_TEST(pixel_value(-0.9921875f) == 0);        // 0.99609375
  for (int byte = 0; byte < 256; ++byte) BOOST_TEST(pixel_value(shown_as(byte)) == byte);
}

BOOST_AUTO_TEST_CASE(values_out_of_range_are_clamped_and_nan_is_zero) {
  for (const float x : {-1.001f, -7.0f, -3e38f, -infinity, not_a_number, -not_a_number})
    BOOST_TEST(pixel_value(x) == 0);
  for (const float x : {1.001f, 7.0f, 3e38f, infinity}) BOOST_TEST(pixel_value(x) == 255);
}

BOOST_AUTO_TEST_CASE(every_pixel_is_at_its_place) {
  const TemporaryFolder folder;
  for (const index_t channels : {1, 2, 3, 4}) {
    for (const int scale : {1, 3}) {
      for (const int gap : {0, 2}) {
        const index_t count = 5, height = 2, width = 3, columns = 2;
        std::vector<float> images(static_cast<std::size_t>(count * height * width * channels));
        for (std::size_t i = 0; i < images.size(); ++i) images[i] = shown_as(static_cast<int>(i % 251));
        write_grid(folder / "a.png", images, count, height, width, channels, columns, scale, gap);
        const Picture picture = read_png(folder / "a.png");
        const index_t shown = channels < 3 ? 1 : 3;
        BOOST_TEST_REQUIRE(picture.channels == static_cast<std::size_t>(shown));
        BOOST_TEST_REQUIRE(picture.width == static_cast<std::size_t>(2 * 3 * scale + gap));
        BOOST_TEST_REQUIRE(picture.height == static_cast<std::size_t>(3 * 2 * scale + 2 * gap));
        std::vector<std::uint8_t> expected(picture.pixels.size(), 255);
        for (std::size_t y = 0; y < picture.height; ++y) {
          for (std::size_t x = 0; x < picture.width; ++x) {
            const index_t row = static_cast<index_t>(y), column = static_cast<index_t>(x);
            const index_t image = row / (height * scale + gap) * columns + column / (width * scale + gap);
            const index_t inner_y = row % (height * scale + gap) / scale,
                          inner_x = column % (width * scale + gap) / scale;
            if (image >= count || inner_y >= height || inner_x >= width) continue;
            for (index_t c = 0; c < shown; ++c) {
              const index_t from = ((image * height + inner_y) * width + inner_x) * channels + c;
              expected[(y * picture.width + x) * picture.channels + static_cast<std::size_t>(c)] =
                  static_cast<std::uint8_t>(from % 251);
            }
          }
        }
        BOOST_TEST((picture.pixels == expected));
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(nan_is_magenta_in_colour_and_black_in_grey) {
  const TemporaryFolder folder;
  write_grid(folder / "a.png", std::vector<float>{0, not_a_number, 1, -1, 0, 1}, 1, 1, 2, 3, 1);
  BOOST_TEST(read_png(folder / "a.png").pixels == (std::vector<std::uint8_t>{255, 0, 255, 0, 127, 255}));
  write_grid(folder / "a.png", std::vector<float>{not_a_number, 1}, 1, 1, 2, 1, 1);
  BOOST_TEST(read_png(folder / "a.png").pixels == (std::vector<std::uint8_t>{0, 255}));
  write_grid(folder / "a.png", std::vector<float>{0, 1, -1, not_a_number}, 1, 1, 1, 4, 1);  // the fourth is not shown
  BOOST_TEST(read_png(folder / "a.png").pixels == (std::vector<std::uint8_t>{127, 255, 0}));
}

BOOST_AUTO_TEST_CASE(a_grid_is_no_wider_than_its_images) {
  const TemporaryFolder folder;
  write_grid(folder / "a.png", std::vector<float>(2 * 4 * 4), 2, 4, 4, 1, 8);
  BOOST_TEST(read_png(folder / "a.png").width == 10u);
}

BOOST_AUTO_TEST_CASE(sizes_that_do_not_fit_are_refused) {
  const TemporaryFolder folder;
  const std::vector<float> images(12);
  const auto path = folder / "a.png";
  const std::string who = "write_grid: " + path.string() + ": ";
  const auto error = [&](auto... numbers) { return message_of<Error>([&] { write_grid(path, images, numbers...); }); };
  BOOST_TEST(error(1, 2, 2, 2, 1) == who + "expected 1x2x2x2 values, got 12");
  BOOST_TEST(error(0, 2, 2, 3, 1) == who + "expected positive sizes, got 0x2x2x3");
  BOOST_TEST(error(1, 2, 2, 3, 0) == who + "expected columns >= 1, scale >= 1, gap >= 0, got 0, 1, 2");
  BOOST_TEST(error(1, 2, 2, 3, 1, 0) == who + "expected columns >= 1, scale >= 1, gap >= 0, got 1, 0, 2");
  BOOST_TEST(error(1, 2, 2, 3, 1, 1, -1) == who + "expected columns >= 1, scale >= 1, gap >= 0, got 1, 1, -1");
  const index_t big = index_t{1} << 32;
  BOOST_TEST(error(big, big, big, 12, 1).starts_with(who + "expected 4294967296x"));
  BOOST_TEST(error(1, 2, 2, 3, 1, 1 << 30).starts_with(who + "the grid is too large for a PNG"));
  BOOST_TEST(folder.entries() == 0u);
}

BOOST_AUTO_TEST_SUITE_END()
