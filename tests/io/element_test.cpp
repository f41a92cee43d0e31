// Tests names, sizes and conversion of the element types of tensor files.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/io/element.hpp>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <vector>

using namespace sra;
using sra::test::message_of;

namespace {

template <class To, class From>
std::vector<To> converted(const std::vector<From>& values, std::string_view dtype = dtype_of<From>()) {
  return convert_elements<To>("f", dtype, std::as_bytes(std::span(values)));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(element)

BOOST_AUTO_TEST_CASE(names_and_sizes_belong_together) {
  BOOST_TEST(dtype_of<float>() == "F32");
  BOOST_TEST(dtype_of<double>() == "F64");
  BOOST_TEST(dtype_of<bf16>() == "BF16");
  BOOST_TEST(dtype_of<std::int64_t>() == "I64");
  BOOST_TEST(dtype_of<std::int32_t>() == "I32");
  BOOST_TEST(dtype_of<std::int16_t>() == "I16");
  BOOST_TEST(dtype_of<std::int8_t>() == "I8");
  BOOST_TEST(dtype_of<std::uint64_t>() == "U64");
  BOOST_TEST(dtype_of<std::uint8_t>() == "U8");
  BOOST_TEST(dtype_size("F64") == 8u);
  BOOST_TEST(dtype_size("F16") == 2u);
  BOOST_TEST(dtype_size("BOOL") == 1u);
  for (const char* none : {"", "f32", "F3", "F320", "C64"}) BOOST_TEST(dtype_size(none) == 0u);
}

BOOST_AUTO_TEST_CASE(sizes_are_checked_for_overflow) {
  BOOST_TEST(checked_bytes("f", 4, {}) == 4u);
  BOOST_TEST(checked_bytes("f", 4, {2, 3}) == 24u);
  BOOST_TEST(checked_bytes("f", 4, {0, 3}) == 0u);
  const index_t big = index_t{1} << 32;
  BOOST_TEST(checked_bytes("f", 1, {big, big / 4}) == std::size_t{1} << 62);
  const auto error = [](const std::vector<index_t>& shape) {
    return message_of<Error>([&] { checked_bytes("f", 1, shape); });
  };
  BOOST_TEST(error({big, big / 2}) == "f: shape [4294967296, 2147483648] overflows: it has more than 2^63 bytes");
  BOOST_TEST(error({0, big, big}).find("overflows") != std::string::npos);
  BOOST_TEST(error({big, big, 0}).find("overflows") != std::string::npos);
  BOOST_TEST(error({2, -1}) == "f: expected extents >= 0, got shape [2, -1]");
}

BOOST_AUTO_TEST_CASE(halves_have_their_values) {
  BOOST_TEST(half_to_float(0x0000) == 0.0f);
  BOOST_TEST(std::signbit(half_to_float(0x8000)));
  BOOST_TEST(half_to_float(0x3c00) == 1.0f);
  BOOST_TEST(half_to_float(0xc500) == -5.0f);
  BOOST_TEST(half_to_float(0x7bff) == 65504.0f);
  BOOST_TEST(half_to_float(0x0400) == std::ldexp(1.0f, -14));
  BOOST_TEST(half_to_float(0x0001) == std::ldexp(1.0f, -24));
  BOOST_TEST(half_to_float(0x83ff) == -1023 * std::ldexp(1.0f, -24));
  BOOST_TEST(half_to_float(0xfc00) == -std::numeric_limits<float>::infinity());
  BOOST_TEST(std::isnan(half_to_float(0x7e00)));
}

BOOST_AUTO_TEST_CASE(numbers_keep_their_values) {
  BOOST_TEST(converted<double>(std::vector<float>{0.1f, -2.0f}) == (std::vector<double>{double{0.1f}, -2.0}));
  BOOST_TEST(converted<float>(std::vector<double>{0.1, 1e300})[0] == 0.1f);
  BOOST_TEST(converted<float>(std::vector<bf16>{bf16(-1.5f)}) == std::vector<float>{-1.5f});
  BOOST_TEST(converted<bf16>(std::vector<float>{1.0f + 0x1p-7f + 0x1p-9f})[0].bits == bf16(1.0f + 0x1p-7f).bits);
  BOOST_TEST(converted<double>(std::vector<std::uint16_t>{0x3c00, 0xc500}, "F16") == (std::vector<double>{1.0, -5.0}));
  BOOST_TEST(converted<float>(std::vector<std::int64_t>{-7, 9}) == (std::vector<float>{-7, 9}));
  BOOST_TEST(converted<std::int64_t>(std::vector<std::uint8_t>{0, 255}) == (std::vector<std::int64_t>{0, 255}));
  BOOST_TEST(converted<int>(std::vector<std::int8_t>{-128, 127}) == (std::vector<int>{-128, 127}));
  BOOST_TEST(converted<std::uint8_t>(std::vector<std::uint8_t>{1, 0}, "BOOL") == (std::vector<std::uint8_t>{1, 0}));
  BOOST_TEST(converted<std::uint8_t>(std::vector<std::uint64_t>{255}) == (std::vector<std::uint8_t>{255}));
}

BOOST_AUTO_TEST_CASE(what_cannot_be_kept_is_refused) {
  const auto error = [](auto&& f) { return message_of<Error>(f); };
  BOOST_TEST(error([] {
               converted<std::uint8_t>(std::vector<std::int64_t>{3, 256});
             }) == "f: value 256 does not fit into U8");
  BOOST_TEST(error([] { converted<std::uint64_t>(std::vector<std::int8_t>{-1}); }) ==
             "f: value -1 does not fit into U64");
  BOOST_TEST(error([] { converted<std::int64_t>(std::vector<float>{1.0f}); }) ==
             "f: expected integers, file has floating-point numbers");
  BOOST_TEST(error([] { converted<float>(std::vector<std::uint8_t>{1}, "F8_E4M3"); }) ==
             "f: cannot convert elements of dtype F8_E4M3");
}

BOOST_AUTO_TEST_SUITE_END()
