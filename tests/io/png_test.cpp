// Tests the PNG writer by decoding its files with libpng, which also checks the compression.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "file_size_limit.hpp"
#include "png_picture.hpp"

#include <sra/io/png.hpp>

#include <boost/test/unit_test.hpp>
#include <png.h>  // tests/CMakeLists.txt links what a source includes

#include <cstdint>
#include <limits>
#include <map>
#include <random>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

void check_round_trip(const std::vector<std::uint8_t>& pixels, index_t height, index_t width, index_t channels) {
  const TemporaryFolder folder;
  write_png(folder / "a.png", pixels.data(), height, width, channels);
  const Picture picture = read_png(folder / "a.png");
  BOOST_TEST(picture.height == static_cast<std::size_t>(height));
  BOOST_TEST(picture.width == static_cast<std::size_t>(width));
  BOOST_TEST(picture.channels == static_cast<std::size_t>(channels));
  BOOST_TEST((picture.pixels == pixels));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(png)

BOOST_AUTO_TEST_CASE(crc_has_its_published_value) {
  BOOST_TEST(sra::crc32("123456789") == 0xcbf43926u);
  BOOST_TEST(sra::crc32("IEND") == 0xae426082u);
}

BOOST_AUTO_TEST_CASE(noise_of_every_small_size_comes_back) {
  std::mt19937 random(1);
  for (index_t height = 1; height < 6; ++height) {
    for (index_t width = 1; width < 9; ++width) {
      for (const index_t channels : {1, 3}) {
        std::vector<std::uint8_t> pixels(static_cast<std::size_t>(height * width * channels));
        for (auto& value : pixels) value = static_cast<std::uint8_t>(random());
        check_round_trip(pixels, height, width, channels);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(pictures_of_all_kinds_come_back) {
  std::mt19937 random(2);
  const std::size_t height = 157, width = 211;
  for (int kind = 0; kind < 6; ++kind) {
    std::vector<std::uint8_t> pixels(height * width * 3);
    for (std::size_t i = 0; i < pixels.size(); ++i) {
      const std::size_t x = i / 3 % width, y = i / 3 / width;
      const unsigned value[] = {static_cast<unsigned>(random()),     200u,
                                static_cast<unsigned>(x + y),        static_cast<unsigned>(x / 8 * 37 + y / 8 * 91),
                                static_cast<unsigned>(random() % 3), static_cast<unsigned>(x * y + random() % 2)};
      pixels[i] = static_cast<std::uint8_t>(value[kind]);
    }
    BOOST_TEST_CONTEXT(kind) check_round_trip(pixels, height, width, 3);
  }
}

BOOST_AUTO_TEST_CASE(repetitions_over_every_length_and_distance_come_back) {
  std::mt19937 random(3);
  std::vector<std::uint8_t> pixels;
  for (auto& value : pixels = std::vector<std::uint8_t>(40'000)) value = static_cast<std::uint8_t>(random());
  while (pixels.size() < 900'000) {  // noise, and copies of 3 to 300 bytes from 1 to 40000 bytes ago
    const std::size_t length = 3 + random() % 298;
    const std::size_t distance =
        1 + random() % (std::size_t{1} << (1 + random() % 15)) + (random() % 4 == 0 ? 7000 : 0);
    for (std::size_t i = 0; i < length; ++i) pixels.push_back(pixels[pixels.size() - distance]);
    pixels.push_back(static_cast<std::uint8_t>(random()));
  }
  check_round_trip(pixels, 1, static_cast<index_t>(pixels.size()), 1);
}

BOOST_AUTO_TEST_CASE(copies_from_the_very_edge_of_the_window_come_back) {
  std::mt19937 random(4);
  for (std::size_t distance = 32'765; distance < 32'773; ++distance) {
    std::vector<std::uint8_t> pixels(distance);
    for (auto& value : pixels) value = static_cast<std::uint8_t>(random());
    for (std::size_t i = 0; i < 5000; ++i) pixels.push_back(pixels[i]);
    check_round_trip(pixels, 1, static_cast<index_t>(pixels.size()), 1);
  }
}

BOOST_AUTO_TEST_CASE(more_data_than_one_chunk_come_back) {
  std::mt19937 random(5);
  std::vector<std::uint8_t> pixels(1500 * 1000);
  for (auto& value : pixels) value = static_cast<std::uint8_t>(random());
  check_round_trip(pixels, 1500, 1000, 1);
}

BOOST_AUTO_TEST_CASE(texts_are_kept) {
  const TemporaryFolder folder;
  const std::uint8_t pixel = 9;
  const std::map<std::string, std::string> texts = {{"Software", "sra"},
                                                    {"cfg", "{\"width\": 64}\n"},
                                                    {"symbol", "ε → 0"},
                                                    {"empty", ""},
                                                    {std::string(79, 'k'), "v"}};
  write_png(folder / "a.png", &pixel, 1, 1, 1, texts);
  BOOST_TEST((read_png(folder / "a.png").texts == texts));
}

BOOST_AUTO_TEST_CASE(impossible_sizes_and_texts_are_refused) {
  const TemporaryFolder folder;
  const std::uint8_t pixels[3] = {};
  const auto path = folder / "a.png";
  const auto error = [&](index_t height, index_t width, index_t channels) {
    return message_of<Error>([&] { write_png(path, pixels, height, width, channels); });
  };
  const std::string expected =
      "write_png: " + path.string() + ": expected 1 to 2^31 - 1 rows and columns and 1 or 3 channels, got ";
  BOOST_TEST(error(0, 1, 1) == expected + "0x1x1");
  BOOST_TEST(error(1, -1, 1) == expected + "1x-1x1");
  BOOST_TEST(error(1, 1, 2) == expected + "1x1x2");
  BOOST_TEST(error(index_t{1} << 31, 1, 1) == expected + "2147483648x1x1");
  BOOST_TEST(error(1, std::numeric_limits<index_t>::max(), 3).starts_with(expected));
  const auto text_error = [&](const std::string& key, const std::string& value) {
    return message_of<Error>([&] { write_png(path, pixels, 1, 1, 1, {{key, value}}); });
  };
  for (const std::string& key : {std::string(), std::string(80, 'k'), std::string(" k"), std::string("k "),
                                 std::string("a  b"), std::string("\xc3\xa9"), std::string("a\0b", 3)}) {
    BOOST_TEST(text_error(key, "v").ends_with("expected 1 to 79 printable ASCII characters, singly spaced"));
  }
  BOOST_TEST(text_error(std::string("a\0b", 3), "v").find(R"(text key "a\u0000b": expected)") != std::string::npos);
  BOOST_TEST(text_error("k", "\xff").ends_with("text of \"k\": expected UTF-8 without zero bytes"));
  BOOST_TEST(text_error("k", std::string("a\0b", 3)).ends_with("expected UTF-8 without zero bytes"));
  BOOST_TEST(folder.entries() == 0u);
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_picture) {
  const TemporaryFolder folder;
  std::vector<std::uint8_t> pixels(100'000);
  write_png(folder / "a.png", pixels.data(), 1, 4, 1);
  std::mt19937 random(6);
  for (auto& value : pixels) value = static_cast<std::uint8_t>(random());
  {
    const FileSizeLimit limit(50'000);
    BOOST_CHECK_THROW(write_png(folder / "a.png", pixels.data(), 1000, 100, 1), Error);
  }
  BOOST_TEST(read_png(folder / "a.png").width == 4u);
  BOOST_TEST(folder.entries() == 1u);
}

BOOST_AUTO_TEST_SUITE_END()
