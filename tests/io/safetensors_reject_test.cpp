// Tests that every defect of a safetensors file has its sentence, and that mutated files are read or refused.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "safetensors_file.hpp"

#include <sra/io/safetensors.hpp>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

std::string error_of(const std::string& file) {
  return message_of<Error>([&] { parse_safetensors(file); });
}

/// "name":{...} of a tensor in bytes.
std::string entry(const std::string& name, std::size_t begin, std::size_t end) {
  return text('"', name, R"(":{"dtype":"U8","shape":[)", end - begin, R"(],"data_offsets":[)", begin, ',', end, "]}");
}

std::string error_of_tensor(const std::string& description, const std::string& data = "abcdefgh") {
  return error_of(safetensors_file(R"({"x":)" + description + "}", data));
}

/// A file with something of everything.
std::string valid_file() {
  return safetensors_file(R"({"__metadata__":{"cfg":"{\"width\":64}","\u00e9":"n\n"},)"
                          R"("a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},)"
                          R"("b.c":{"dtype":"I64","shape":[],"data_offsets":[24,32]},)"
                          R"("e":{"dtype":"BF16","shape":[0,7],"data_offsets":[32,32]},)"
                          R"("d":{"dtype":"U8","shape":[5],"data_offsets":[32,37]}}   )",
                          std::string(37, '\x3f'));
}

/// Changes bytes, cuts, doubles or edits numbers.
std::string mutated(std::string file, std::mt19937& random) {
  const std::string numbers[] = {"0",
                                 "1",
                                 "-1",
                                 "37",
                                 "4294967296",
                                 "9223372036854775807",
                                 "18446744073709551615",
                                 "18446744073709551616",
                                 "1e2",
                                 "[",
                                 "{",
                                 "null",
                                 "\"F64\"",
                                 "\\u0000"};
  for (auto changes = random() % 3 + 1; changes > 0 && !file.empty(); --changes) {
    const std::size_t at = random() % file.size();
    switch (random() % 6) {
      case 0:
        file[at] = static_cast<char>(file[at] ^ (1 << random() % 7));
        break;
      case 1:
        file[at] = static_cast<char>(static_cast<unsigned char>(random()));
        break;
      case 2:
        file.resize(at);
        break;
      case 3:
        file.insert(at, file.substr(at, random() % 40));
        break;
      case 4:
        file.erase(at, random() % 8 + 1);
        break;
      default: {
        const std::size_t digit = file.find_first_of("0123456789", at);
        if (digit == std::string::npos) break;
        const std::size_t end = file.find_first_not_of("0123456789", digit);
        file.replace(digit, (end == std::string::npos ? file.size() : end) - digit,
                     numbers[random() % std::size(numbers)]);
      }
    }
  }
  if (random() % 2 && file.size() >= 8 + 37) {  // let the length agree again, so that more than that is tested
    const std::uint64_t length = file.size() - 8 - 37;
    std::memcpy(file.data(), &length, 8);
  }
  return file;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(safetensors_reject)

BOOST_AUTO_TEST_CASE(the_example_is_accepted) {
  const std::string file = valid_file();
  const SafeTensors parsed = parse_safetensors(file);
  BOOST_TEST(parsed.tensors().size() == 4u);
  BOOST_TEST(parsed.tensors()[2].name == "e");
  BOOST_TEST(parsed.metadata().at("é") == "n\n");
}

BOOST_AUTO_TEST_CASE(truncated_files_and_oversized_headers) {
  BOOST_TEST(error_of("") == "SafeTensors: f: truncated: expected at least 8 bytes, got 0");
  BOOST_TEST(error_of("1234567") == "SafeTensors: f: truncated: expected at least 8 bytes, got 7");
  const std::string file = valid_file();
  BOOST_TEST(error_of(file.substr(0, 20)) ==
             text("SafeTensors: f: truncated: header of ", file.size() - 8 - 37, " bytes in a file of 20 bytes"));
  BOOST_TEST(error_of(file.substr(0, file.size() - 1)) ==
             "SafeTensors: f: tensor \"d\": range 32 to 37 is past the end: the file has 36 bytes of data");
  std::string large = file;
  const std::uint64_t length = 100'000'001;
  std::memcpy(large.data(), &length, 8);
  BOOST_TEST(error_of(large) == "SafeTensors: f: header too large: expected at most 100000000 bytes, got 100000001");
  const std::uint64_t huge = std::numeric_limits<std::uint64_t>::max();
  std::memcpy(large.data(), &huge, 8);
  BOOST_TEST(error_of(large).find("got 18446744073709551615") != std::string::npos);
  for (std::size_t n = 0; n < file.size(); ++n) {
    BOOST_TEST_CONTEXT(n) BOOST_CHECK_THROW(parse_safetensors(file.substr(0, n)), Error);
  }
}

BOOST_AUTO_TEST_CASE(headers_that_are_not_the_json_of_the_format) {
  const auto error = [](const std::string& header) { return error_of(safetensors_file(header, "")); };
  BOOST_TEST(error("") == "SafeTensors: f: header: expected an object, got the end at byte 0");
  BOOST_TEST(error("hello") == "SafeTensors: f: header: expected an object, got 'h' at byte 0");
  BOOST_TEST(error(" {}") == "SafeTensors: f: header: expected an object, got ' ' at byte 0");
  BOOST_TEST(error("{}{") == "SafeTensors: f: header: expected the end, got '{' at byte 2");
  BOOST_TEST(error(R"({"a":1})") == "SafeTensors: f: header: expected an object, got '1' at byte 5");
  BOOST_TEST(error(std::string(100'000, '{')) == "SafeTensors: f: header: expected a string, got '{' at byte 1");
  BOOST_TEST(error(R"({"__metadata__":{"a":5}})") ==
             "SafeTensors: f: header: expected a string as metadata, got '5' at byte 21");
  BOOST_TEST(error(R"({"__metadata__":{"a":{}}})").find("expected a string as metadata") != std::string::npos);
  BOOST_TEST(error(R"({"__metadata__":"a"})") == "SafeTensors: f: header: expected an object, got '\"' at byte 16");
}

BOOST_AUTO_TEST_CASE(duplicate_keys) {
  const auto error = [](const std::string& header) { return error_of(safetensors_file(header, "a")); };
  BOOST_TEST(error("{" + entry("x", 0, 1) + "," + entry("x", 0, 1) + "}") ==
             "SafeTensors: f: header: duplicate key \"x\"");
  BOOST_TEST(error(R"({"__metadata__":{"a":"1","a":"2"}})") == "SafeTensors: f: header: duplicate key \"a\"");
  BOOST_TEST(error(R"({"__metadata__":{},"__metadata__":{}})") ==
             "SafeTensors: f: header: duplicate key \"__metadata__\"");
  BOOST_TEST(error(R"({"x":{"dtype":"U8","dtype":"U8"}})") == "SafeTensors: f: header: duplicate key \"dtype\"");
}

BOOST_AUTO_TEST_CASE(descriptions_of_tensors_that_are_wrong) {
  const std::string x = "SafeTensors: f: tensor \"x\": ";
  BOOST_TEST(error_of_tensor(R"({"dtype":"F33","shape":[2],"data_offsets":[0,8]})") == x + "unknown dtype \"F33\"");
  BOOST_TEST(error_of_tensor(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})") ==
             x + "expected 12 bytes for F32 [3], got the range 0 to 8");
  BOOST_TEST(error_of_tensor(R"({"dtype":"F32","shape":[2],"data_offsets":[8,0]})") ==
             x + "expected 8 bytes for F32 [2], got the range 8 to 0");
  BOOST_TEST(error_of_tensor(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})") ==
             x + "shape [4294967296, 4294967296] overflows: it has more than 2^63 bytes");
  BOOST_TEST(
      error_of_tensor(R"({"dtype":"F64","shape":[2305843009213693953],"data_offsets":[0,8]})").find("overflows") !=
      std::string::npos);  // 8 (2^61 + 1) = 8 modulo 2^64
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,8]})") ==
             x + "extent 18446744073709551615 overflows");
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","shape":[-8],"data_offsets":[0,8]})") ==
             "SafeTensors: f: header: expected a non-negative integer, got '-' at byte 28");
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","shape":[8.0],"data_offsets":[0,8]})").find("a non-negative integer") !=
             std::string::npos);
  const std::string missing = x + "expected dtype, shape and two data_offsets, got a description without them";
  BOOST_TEST(error_of_tensor(R"({"shape":[8],"data_offsets":[0,8]})") == missing);
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","data_offsets":[0,8]})") == missing);
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","shape":[8]})") == missing);
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[8]})") == missing);
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8,8]})") == missing);
  BOOST_TEST(error_of_tensor(R"({"dtype":"U8","shape":[8],"data_offsets":[0,8],"stride":[1]})") ==
             x + "expected dtype, shape and data_offsets, got \"stride\"");
}

BOOST_AUTO_TEST_CASE(ranges_that_are_not_all_of_the_data) {
  const auto error = [](const std::string& entries) {
    return error_of(safetensors_file("{" + entries + "}", "abcdefgh"));
  };
  const std::string y = "SafeTensors: f: tensor \"y\": ";
  BOOST_TEST(error(entry("x", 0, 9)) ==
             "SafeTensors: f: tensor \"x\": range 0 to 9 is past the end: the file has 8 bytes of data");
  BOOST_TEST(error(entry("x", 0, 7)) == "SafeTensors: f: 1 trailing bytes after the last tensor");
  BOOST_TEST(error("") == "SafeTensors: f: 8 trailing bytes after the last tensor");
  BOOST_TEST(error(entry("y", 3, 8) + "," + entry("x", 0, 4)) ==
             y + "begins at byte 3, overlaps the one that ends at 4");
  BOOST_TEST(error(entry("x", 0, 8) + "," + entry("y", 0, 8)) ==
             y + "begins at byte 0, overlaps the one that ends at 8");
  BOOST_TEST(error(entry("x", 0, 8) + "," + entry("y", 5, 5)) ==
             y + "begins at byte 5, overlaps the one that ends at 8");
  BOOST_TEST(error(entry("x", 0, 4) + "," + entry("y", 5, 8)) == y + "begins at byte 5, leaves a hole after byte 4");
  BOOST_TEST(error(entry("y", 1, 8)) == y + "begins at byte 1, leaves a hole after byte 0");
  BOOST_TEST(error(entry("y", 4, 8) + "," + entry("x", 4, 4) + "," + entry("z", 0, 4)) == "(nothing was thrown)");
}

BOOST_AUTO_TEST_CASE(mutations_are_read_as_json_reads_them_or_refused) {
  std::mt19937 random(5);
  const std::string valid = valid_file();
  int accepted = 0;
  const int rounds = 20'000;
  for (int round = 0; round < rounds; ++round) {
    const std::string file = mutated(valid, random);
    try {
      const SafeTensors parsed = parse_safetensors(file);
      ++accepted;
      std::uint64_t length = 0;
      std::memcpy(&length, file.data(), 8);
      nlohmann::json header = nlohmann::json::parse(file.substr(8, length));
      header.erase("__metadata__");
      std::size_t data = 0;
      BOOST_TEST(header.size() == parsed.tensors().size());
      for (const TensorInfo& info : parsed.tensors()) {
        BOOST_TEST(header.at(info.name).at("shape").get<std::vector<index_t>>() == info.shape);
        data += parsed.bytes(info).size();
        if (!info.dtype.starts_with("F8")) parsed.read<double>(info.name);
      }
      BOOST_TEST(8 + length + data == file.size());
    } catch (const Error& e) {
      BOOST_TEST(std::string(e.what()).starts_with("SafeTensors: f: "));
    }
  }
  BOOST_TEST(accepted > rounds / 50);
  BOOST_TEST(accepted < rounds / 2);
}

BOOST_AUTO_TEST_SUITE_END()
