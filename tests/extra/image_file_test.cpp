// Checks what is decoded from every kind of JPEG and PNG, and that damaged and oversized ones are refused.
// SPDX-License-Identifier: MIT
#include "written_images.hpp"

#include <sra/extra/image_file.hpp>

#include <boost/test/unit_test.hpp>
#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <initializer_list>
#include <string>
#include <vector>

namespace {

using namespace written;

Bytes decoded(const Bytes& file) {
  const auto picture = sra::decode_image(file);
  BOOST_REQUIRE_EQUAL(static_cast<index_t>(picture.rgb.size()), picture.height * picture.width * 3);
  return picture.rgb;
}

std::string complaint(const Bytes& file) {
  return message([&] { sra::decode_image(file); });
}

Bytes gray_as_rgb(const Bytes& gray) {
  Bytes rgb;
  for (const auto g : gray) rgb.insert(rgb.end(), 3, g);
  return rgb;
}

int worst(const Bytes& a, const Bytes& b) {
  BOOST_REQUIRE_EQUAL(a.size(), b.size());
  int w = 0;
  for (std::size_t i = 0; i < a.size(); ++i) w = std::max(w, std::abs(a[i] - b[i]));
  return w;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(image_file)

BOOST_AUTO_TEST_CASE(a_color_png_is_exact) {
  const auto pixels = noise(7 * 5 * 3);
  for (const int interlace : {PNG_INTERLACE_NONE, PNG_INTERLACE_ADAM7}) {
    const auto picture = sra::decode_image(png(pixels, 7, 5, {.interlace = interlace}));
    BOOST_TEST((picture.rgb == pixels && picture.width == 7 && picture.height == 5));
  }
}

BOOST_AUTO_TEST_CASE(gray_pngs_of_1_8_and_16_bits_are_exact) {
  const auto gray = noise(64);
  Bytes wide;
  for (const auto g : gray) wide.insert(wide.end(), 2, g);  // g · 257 in 16 bits
  BOOST_TEST((decoded(png(gray, 8, 8, {.type = PNG_COLOR_TYPE_GRAY})) == gray_as_rgb(gray)));
  BOOST_TEST((decoded(png(wide, 8, 8, {.depth = 16, .type = PNG_COLOR_TYPE_GRAY})) == gray_as_rgb(gray)));
  const auto bits = decoded(png({0x55, 0xaa}, 8, 2, {.depth = 1, .type = PNG_COLOR_TYPE_GRAY}));
  for (std::size_t i = 0; i < 16; ++i) BOOST_TEST(bits[3 * i] == (i % 2 != i / 8 ? 255 : 0));
}

BOOST_AUTO_TEST_CASE(a_color_png_of_16_bits_is_rounded) {
  const auto wide = noise(64 * 6);
  Bytes rounded;
  for (std::size_t i = 0; i < wide.size(); i += 2)
    rounded.push_back(static_cast<std::uint8_t>(std::lround((wide[i] * 256 + wide[i + 1]) / 257.0)));
  BOOST_TEST((decoded(png(wide, 8, 8, {.depth = 16})) == rounded));
}

BOOST_AUTO_TEST_CASE(a_palette_png_is_exact) {
  const std::vector<png_color> palette = {{10, 20, 30}, {255, 0, 0}, {0, 255, 0}};
  Bytes index, colours;
  for (std::uint8_t i = 0; i < 64; ++i) {
    index.push_back(i % 3);
    colours.insert(colours.end(), {palette[i % 3].red, palette[i % 3].green, palette[i % 3].blue});
  }
  BOOST_TEST((decoded(png(index, 8, 8, {.type = PNG_COLOR_TYPE_PALETTE, .palette = palette})) == colours));
}

BOOST_AUTO_TEST_CASE(transparent_pixels_are_laid_on_black) {
  const auto pixels = noise(64 * 4);
  Bytes laid;
  for (std::size_t i = 0; i < pixels.size(); i += 4)
    for (std::size_t c = 0; c < 3; ++c)
      laid.push_back(static_cast<std::uint8_t>(std::lround(pixels[i + c] * pixels[i + 3] / 255.0)));
  BOOST_TEST((decoded(png(pixels, 8, 8, {.type = PNG_COLOR_TYPE_RGB_ALPHA})) == laid));
}

// Flat blocks have only a mean, which quality 100 keeps to 1/8; each of the two conversions of colours rounds thrice.
BOOST_AUTO_TEST_CASE(color_and_gray_jpegs_are_read) {
  const auto rgb = filled(13 * 9, {200, 100, 50}), gray = filled(13 * 9, {180});
  const auto picture = sra::decode_image(jpeg(rgb, 13, 9, JCS_RGB));
  BOOST_TEST((picture.width == 13 && picture.height == 9));
  BOOST_TEST(worst(picture.rgb, rgb) <= 3);
  BOOST_TEST(worst(decoded(jpeg(gray, 13, 9, JCS_GRAYSCALE)), gray_as_rgb(gray)) <= 1);
}

BOOST_AUTO_TEST_CASE(files_that_are_no_images_are_refused_with_a_reason) {
  const auto picture = noise(32 * 32 * 3);
  const auto good_jpeg = jpeg(picture, 32, 32, JCS_RGB), good_png = png(picture, 32, 32);
  const Bytes cut_jpeg(good_jpeg.begin(), good_jpeg.begin() + std::ssize(good_jpeg) / 2);
  const Bytes cut_png(good_png.begin(), good_png.begin() + std::ssize(good_png) / 2);
  BOOST_TEST(complaint({}) == "an empty file");
  BOOST_TEST(complaint({'w', 'o', 'r', 'd', 's'}) == "a file that is neither JPEG nor PNG");
  BOOST_TEST(complaint(cut_jpeg) == "a JPEG with an error: Premature end of JPEG file");
  BOOST_TEST(complaint(cut_png).starts_with("a PNG with an error: "));
  BOOST_TEST(complaint({0xff, 0xd8, 0xff}).starts_with("a JPEG with an error: "));
  BOOST_TEST(complaint({0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'}).starts_with("a PNG with an error: "));
  BOOST_TEST(complaint(jpeg(noise(64 * 4), 8, 8, JCS_CMYK)) == "a JPEG of CMYK colours, where gray or RGB is needed");
  BOOST_TEST(complaint(jpeg(picture, 32, 32, JCS_RGB, true)) == "a JPEG with an error: more than 200 scans");
}

BOOST_AUTO_TEST_CASE(images_of_absurd_size_are_refused_before_memory_is_asked_for) {
  auto big = jpeg(noise(64 * 3), 8, 8, JCS_RGB);
  const Bytes frame = {0xff, 0xc0};
  const auto at = std::search(big.begin(), big.end(), frame.begin(), frame.end());
  BOOST_REQUIRE(big.end() - at > 9);
  for (const std::ptrdiff_t side : {5, 7}) at[side] = 0xfd, at[side + 1] = 0xe8;  // 65000
  BOOST_TEST(complaint(big) == "an image of 65000 x 65000 pixels, beyond 16384 a side or 67108864 in all");
  for (const std::ptrdiff_t side : {5, 7}) at[side] = 0x3f, at[side + 1] = 0xff;  // 16383
  BOOST_TEST(complaint(big) == "an image of 16383 x 16383 pixels, beyond 16384 a side or 67108864 in all");
  BOOST_TEST(complaint(png(filled(20000, {0}), 20000, 1, {.type = PNG_COLOR_TYPE_GRAY})) ==
             "an image of 20000 x 1 pixels, beyond 16384 a side or 67108864 in all");
}

BOOST_AUTO_TEST_CASE(damaged_bytes_never_do_harm) {
  const auto picture = noise(24 * 24 * 3);
  sra::Stream draw(sra::Rng(9, sra::Purpose::user, 0, 0));
  for (const auto& good :
       {jpeg(picture, 24, 24, JCS_RGB), jpeg(noise(24 * 24), 24, 24, JCS_GRAYSCALE), png(picture, 24, 24)}) {
    int refused = 0;
    for (int i = 0; i < 700; ++i) {
      auto bad = good;
      const auto changes = 1 + draw.below(4);
      for (index_t k = 0; k < changes; ++k) {
        const index_t reach = i % 2 ? std::ssize(bad) : std::min<index_t>(600, std::ssize(bad));  // half into headers
        const auto at = static_cast<std::size_t>(draw.below(reach));
        bad[at] = static_cast<std::uint8_t>(draw.below(256));
      }
      if (i % 5 == 0) bad.resize(static_cast<std::size_t>(draw.below(std::ssize(bad))));
      try {
        const auto decoded = sra::decode_image(bad);
        BOOST_TEST(static_cast<index_t>(decoded.rgb.size()) == decoded.height * decoded.width * 3);
      } catch (const sra::Error&) {
        ++refused;
      }
    }
    BOOST_TEST(refused > 100);
  }
}

BOOST_AUTO_TEST_SUITE_END()
