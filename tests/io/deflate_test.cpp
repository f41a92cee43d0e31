// Tests the checksums and the compression against known values; png_test decodes what it makes by other means.
// SPDX-License-Identifier: MIT
#include <sra/io/deflate.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <string_view>
#include <vector>

using namespace sra;

namespace {

std::vector<std::uint8_t> bytes(std::string_view s) { return {s.begin(), s.end()}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(deflate)

BOOST_AUTO_TEST_CASE(adler_has_its_published_value) {
  BOOST_TEST(adler32({}) == 1u);
  BOOST_TEST(adler32(bytes("Wikipedia")) == 0x11e60398u);
  // a = 1 + 255 n, b = n + 255 n (n + 1) / 2, both modulo 65521, n = 100000
  const std::uint64_t n = 100'000, a = (1 + 255 * n) % 65521, b = (n + 255 * (n * (n + 1) / 2)) % 65521;
  BOOST_TEST(adler32(std::vector<std::uint8_t>(n, 255)) == (b << 16 | a));
}

BOOST_AUTO_TEST_CASE(short_streams_are_those_of_the_standard) {
  // final block, fixed codes: bits 1, 10; end of block 0000000
  BOOST_TEST(zlib_compress({}) == (std::vector<std::uint8_t>{0x78, 0x01, 0x03, 0x00, 0, 0, 0, 1}));
  // 'a' is literal 0x61, code 0x91 of 8 bits: the well-known 4b 04 00
  BOOST_TEST(zlib_compress(bytes("a")) == (std::vector<std::uint8_t>{0x78, 0x01, 0x4b, 0x04, 0x00, 0, 0x62, 0, 0x62}));
}

BOOST_AUTO_TEST_CASE(repetitions_are_found) {
  // one literal, then matches of 258 bytes, 8 + 5 bits each
  const std::size_t n = 258'001, symbols = 1000;
  const std::size_t bits = 3 + 8 + symbols * (8 + 5) + 7;
  BOOST_TEST(zlib_compress(std::vector<std::uint8_t>(n, 7)).size() == 2 + (bits + 7) / 8 + 4);
}

BOOST_AUTO_TEST_SUITE_END()
