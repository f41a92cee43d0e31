// Tests .npy files against bytes as NumPy writes them, and every way in which one can be wrong.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/io/npy.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

std::string npy_file(const std::string& header, const std::string& data, char major = 1) {
  std::string file = std::string("\x93NUMPY") + major + '\0' + static_cast<char>(header.size() % 256) +
                     static_cast<char>(header.size() / 256);
  if (major == 2) file += std::string(2, '\0');
  return file + header + data;
}

Npy parse(const std::string& file) { return Npy(std::as_bytes(std::span(file)), "f"); }
std::string error_of(const std::string& file) {
  return message_of<Error>([&] { parse(file); });
}

const std::string good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
const std::string two_floats("\0\0\x80\x3f\0\0\0\xc0", 8);  // 1 and -2

}  // namespace

BOOST_AUTO_TEST_SUITE(npy)

BOOST_AUTO_TEST_CASE(files_of_numpy_are_read_in_both_versions) {
  for (const char major : {'\1', '\2'}) {
    const std::string file = npy_file(good + std::string(60, ' ') + "\n", two_floats, major);
    const Npy array = parse(file);
    BOOST_TEST(array.dtype() == "F32");
    BOOST_TEST(array.shape() == std::vector<index_t>{2});
    BOOST_TEST(array.bytes().size() == 8u);
    BOOST_TEST(array.read<double>() == (std::vector<double>{1, -2}));
  }
}

BOOST_AUTO_TEST_CASE(the_order_of_keys_is_free) {
  const std::string scalar = npy_file("{'shape': (), 'descr':'|u1','fortran_order' : False}", "\x07");
  BOOST_TEST(parse(scalar).shape().empty());
  BOOST_TEST(parse(scalar).read<int>() == std::vector<int>{7});
  const std::string matrix = npy_file("{'shape': (2, 3), 'descr':'|u1','fortran_order' : False}", "abcdef");
  BOOST_TEST(parse(matrix).shape() == (std::vector<index_t>{2, 3}));
}

BOOST_AUTO_TEST_CASE(what_is_written_is_what_numpy_would_write) {
  const TemporaryFolder folder;
  write_npy<float>(folder / "a.npy", std::vector<float>{1, -2}, {2});
  const std::string file = read_text(folder / "a.npy");
  BOOST_TEST(file.substr(0, 10) == std::string("\x93NUMPY\1\0\x76\0", 10));
  BOOST_TEST(file.substr(10, good.size()) == good);
  BOOST_TEST(file.size() == 128u + 8);
  BOOST_TEST(file[127] == '\n');
  BOOST_TEST(file.substr(128) == two_floats);
}

template <class T>
void check_round_trip(const std::vector<index_t>& shape, const std::string& dtype) {
  const TemporaryFolder folder;
  std::vector<T> values(checked_bytes("test", 1, shape));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(7 * i + 3);
  write_npy<T>(folder / "a.npy", values, shape);
  const Npy array(folder / "a.npy");
  BOOST_TEST(array.dtype() == dtype);
  BOOST_TEST(array.shape() == shape);
  BOOST_TEST(array.read<T>() == values);
  BOOST_TEST((read_text(folder / "a.npy").size() - values.size() * sizeof(T)) % 64 == 0u);
}

BOOST_AUTO_TEST_CASE(every_type_and_shape_comes_back) {
  check_round_trip<float>({3, 4, 5}, "F32");
  check_round_trip<double>({}, "F64");
  check_round_trip<std::int64_t>({2, 0, 3}, "I64");
  check_round_trip<std::int32_t>({1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2}, "I32");
  check_round_trip<std::uint8_t>({17}, "U8");
}

BOOST_AUTO_TEST_CASE(every_defect_has_its_sentence) {
  BOOST_TEST(error_of("") == "Npy: f: expected a .npy file, got something else");
  BOOST_TEST(error_of("\x93NUMPY") == "Npy: f: expected version 1.0 or 2.0");
  BOOST_TEST(error_of(npy_file(good, two_floats, 3)) == "Npy: f: expected version 1.0 or 2.0");
  const std::string file = npy_file(good, two_floats);
  BOOST_TEST(error_of(file.substr(0, 30)) == "Npy: f: truncated in its header");
  BOOST_TEST(error_of(std::string("\x93NUMPY\2\0\1\0", 10)) == "Npy: f: truncated in its header");
  BOOST_TEST(error_of(file.substr(0, file.size() - 1)) == "Npy: f: expected 8 bytes for shape [2], got 7");
  BOOST_TEST(error_of(file + "x") == "Npy: f: expected 8 bytes for shape [2], got 9");
  const auto header_error = [](const std::string& header) { return error_of(npy_file(header, "")); };
  BOOST_TEST(header_error("{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }") ==
             "Npy: f: expected dtype <f4, <f8, <i8, <i4 or |u1, got >f4");
  BOOST_TEST(header_error("{'descr': '<f4', 'fortran_order': True, 'shape': (2,), }") ==
             "Npy: f: header: expected False (row-major order), got \"True, 'shape': (2,),\"");
  BOOST_TEST(header_error("{'descr': '<f4', 'fortran_order': False, }") ==
             "Npy: f: expected descr, fortran_order and shape, got 2 keys");
  BOOST_TEST(header_error("{'descr': '<f4', 'descr': '<f4', }") == "Npy: f: duplicate key 'descr'");
  BOOST_TEST(header_error("{'x': 1}") == "Npy: f: expected descr, fortran_order or shape, got 'x'");
  BOOST_TEST(header_error("{'shape': (-1,)}") == "Npy: f: header: expected an extent, got \"-1,)}\"");
  BOOST_TEST(header_error("{'shape': (99999999999999999999,)}").find("expected an extent") != std::string::npos);
  BOOST_TEST(
      header_error("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296,4294967296)}").find("overflows") !=
      std::string::npos);
  BOOST_TEST(header_error("{'descr': [('a', '<f4')], }").find("expected ', got") != std::string::npos);
  BOOST_TEST(header_error("{'descr").find("a string in single quotes") != std::string::npos);
  BOOST_TEST(header_error(good + "x") == "Npy: f: header: expected the end, got \"x\"");
}

BOOST_AUTO_TEST_CASE(wrong_sizes_and_types_are_not_written) {
  const TemporaryFolder folder;
  const std::vector<float> values(3);
  const auto path = folder / "a.npy";
  BOOST_TEST(message_of<Error>([&] { write_npy<float>(path, values, {4}); }) ==
             text("write_npy: ", path.string(), ": expected 16 bytes for shape [4], got 12"));
  const std::vector<std::int16_t> shorts(3);
  BOOST_TEST(message_of<Error>([&] { write_npy<std::int16_t>(path, shorts, {3}); }) ==
             text("write_npy: ", path.string(), ": expected F32, F64, I64, I32 or U8, got I16"));
  BOOST_TEST(folder.entries() == 0u);
}

BOOST_AUTO_TEST_CASE(mutations_are_read_or_refused) {
  std::mt19937 random(3);
  const std::string valid = npy_file(good + "\n", two_floats);
  int refused = 0;
  for (int round = 0; round < 5000; ++round) {
    std::string file = valid;
    for (auto n = random() % 3 + 1; n > 0; --n)
      file[random() % file.size()] = static_cast<char>(static_cast<unsigned char>(random()));
    if (random() % 4 == 0) file.resize(random() % file.size());
    try {
      const Npy array = parse(file);
      BOOST_TEST(array.bytes().size() == checked_bytes("test", dtype_size(array.dtype()), array.shape()));
    } catch (const Error&) {
      ++refused;
    }
  }
  BOOST_TEST(refused > 2500);
  BOOST_TEST(refused < 5000);
}

BOOST_AUTO_TEST_SUITE_END()
