// Tests the strict JSON reader against a known one, on good and on bad texts, and the quoting of strings.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/io/json.hpp>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

using namespace sra;
using sra::test::message_of;

namespace {

std::string read_string(const std::string& json) {
  JsonReader reader(json, "f");
  std::string s = reader.string();
  reader.end();
  return s;
}

std::uint64_t read_integer(const std::string& json) {
  JsonReader reader(json, "f");
  const std::uint64_t n = reader.integer();
  reader.end();
  return n;
}

std::string as_json(const std::string& s) {
  std::string out;
  append_json_string(out, s);
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(json)

BOOST_AUTO_TEST_CASE(strings_are_read_with_all_escapes) {
  BOOST_TEST(read_string(R"( "plain é" )") == "plain é");
  BOOST_TEST(read_string(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  BOOST_TEST(read_string(R"("\u0041\u00e9\u20AC\ud83d\ude00")") == "Aé€😀");
  BOOST_TEST(read_string(R"("\u0000")") == std::string(1, '\0'));
  BOOST_TEST(read_string(R"("\u007f\u0080\u07ff\u0800\uffff\udbff\udfff")") ==
             "\x7f\xc2\x80\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf\xf4\x8f\xbf\xbf");
}

BOOST_AUTO_TEST_CASE(bad_strings_are_refused_with_the_place) {
  const auto error = [](const std::string& s) { return message_of<Error>([&] { read_string(s); }); };
  BOOST_TEST(error("5") == "f: expected a string, got '5' at byte 0");
  BOOST_TEST(error("\"ab") == "f: expected a character of a string in UTF-8, got the end at byte 3");
  BOOST_TEST(error("\"a\nb\"") == "f: expected a character of a string in UTF-8, got byte value 10 at byte 2");
  BOOST_TEST(error("\"\x80\"") == "f: expected a character of a string in UTF-8, got byte value 128 at byte 1");
  BOOST_TEST(error("\"\xc0\x80\"").find("byte value 192") != std::string::npos);
  BOOST_TEST(error("\"\xed\xa0\x80\"").find("byte value 237") != std::string::npos);
  BOOST_TEST(error("\"\xe2\x82").find("byte value 226") != std::string::npos);
  BOOST_TEST(error(R"("\x41")") == "f: expected an escape of JSON, got 'x' at byte 2");
  BOOST_TEST(error("\"\\") == "f: expected an escape of JSON, got the end at byte 2");
  BOOST_TEST(error(R"("\u12g4")") == "f: expected four hexadecimal digits, got 'g' at byte 5");
  BOOST_TEST(error("\"\\u12") == "f: expected four hexadecimal digits, got the end at byte 5");
  for (const char* lone : {R"("\ud800")", R"("\udc00")", R"("\ud800\u0041")", R"("\ud800\n")", R"("\ud800\ud800")"}) {
    BOOST_TEST(error(lone) == "f: expected a surrogate pair, got 'u' at byte 2");
  }
  BOOST_TEST(error("\"\\ud800\\u") == "f: expected four hexadecimal digits, got the end at byte 9");
  BOOST_TEST(error("\"a\" x") == "f: expected the end, got 'x' at byte 4");
}

BOOST_AUTO_TEST_CASE(integers_are_read_up_to_the_last_one_and_nothing_else_is) {
  BOOST_TEST(read_integer(" 0 ") == 0u);
  BOOST_TEST(read_integer("120") == 120u);
  BOOST_TEST(read_integer("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
  for (const char* large : {"18446744073709551616", "184467440737095516150", "99999999999999999999999"}) {
    BOOST_TEST(message_of<Error>([&] { read_integer(large); }) == "f: number too large at byte 0");
  }
  for (const char* bad : {"-1", "1.5", "1e3", "01", "00", "+1", "x", "", "null", "1.", "0x1"}) {
    BOOST_TEST_CONTEXT(bad) BOOST_CHECK_THROW(read_integer(bad), Error);
  }
}

BOOST_AUTO_TEST_CASE(objects_and_arrays_call_back_in_order) {
  JsonReader reader(" { \"a\" : [ 1 , 2 ] , \"b\":[], \"c\":{} } ", "f");
  std::string seen;
  reader.object([&](const std::string& key) {
    seen += key;
    if (key == "c") return reader.object([](const std::string&) {});
    reader.array([&] { seen += std::to_string(reader.integer()); });
  });
  reader.end();
  BOOST_TEST(seen == "a12bc");
}

BOOST_AUTO_TEST_CASE(bad_objects_and_arrays_are_refused) {
  const auto error = [](const std::string& json) {
    return message_of<Error>([&] {
      JsonReader reader(json, "f");
      reader.object([&](const std::string&) { reader.array([&] { reader.integer(); }); });
      reader.end();
    });
  };
  BOOST_TEST(error("") == "f: expected an object, got the end at byte 0");
  BOOST_TEST(error("[]") == "f: expected an object, got '[' at byte 0");
  BOOST_TEST(error(R"({"a":[],"a":[]})") == "f: duplicate key \"a\"");
  BOOST_TEST(error(R"({"a":[],"\u0061":[]})") == "f: duplicate key \"a\"");
  BOOST_TEST(error(R"({"a" []})") == "f: expected ':', got '[' at byte 5");
  BOOST_TEST(error(R"({"a":[1,]})") == "f: expected a non-negative integer, got ']' at byte 8");
  BOOST_TEST(error(R"({"a":[1 2]})") == "f: expected ',' or ']', got '2' at byte 8");
  BOOST_TEST(error(R"({"a":[],})") == "f: expected a string, got '}' at byte 8");
  BOOST_TEST(error(R"({"a":[]] )") == "f: expected ',' or '}', got ']' at byte 7");
  BOOST_TEST(error(R"({"a":[[[[[[[1]]]]]]]})") == "f: expected a non-negative integer, got '[' at byte 6");
  BOOST_TEST(error(R"({"a":[1)") == "f: expected ',' or ']', got the end at byte 7");
}

BOOST_AUTO_TEST_CASE(quoted_strings_are_what_others_read) {
  std::mt19937 random(1);
  for (int round = 0; round < 2000; ++round) {
    std::string s;
    for (int i = 0; i < 8; ++i)
      s += static_cast<char>(static_cast<unsigned char>(random() % 4 ? random() % 128 : random()));
    const std::string json = as_json(s);
    const std::string read = nlohmann::json::parse(json).get<std::string>();
    BOOST_TEST(read == read_string(json));
    if (is_utf8(s)) BOOST_TEST(read == s);
  }
  BOOST_TEST(as_json("a\"\\\n\x01é") == "\"a\\\"\\\\\\n\\u0001é\"");
  BOOST_TEST(as_json("a\xff"
                     "b\xe2\x82") == R"("a\ufffdb\ufffd\ufffd")");
}

BOOST_AUTO_TEST_CASE(strings_are_accepted_exactly_when_others_accept_them) {
  std::mt19937 random(2);
  const std::string pieces[] = {"\\u",  "d8",           "00",       "dc",       "3d", "\\", "\"",   "\xc3",
                                "\xa9", "\xe2\x82\xac", "\xf0\x9f", "\x98\x80", "n",  "\n", "\xed", "\xa0"};
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string s = "\"";
    for (auto n = random() % 6; n > 0; --n) s += pieces[random() % std::size(pieces)];
    s += '"';
    const auto theirs = nlohmann::json::parse(s, nullptr, false);
    const bool ours = message_of<Error>([&] { read_string(s); }) == "(nothing was thrown)";
    BOOST_TEST_CONTEXT(s) BOOST_TEST(ours == theirs.is_string());
    if (ours && theirs.is_string()) BOOST_TEST(read_string(s) == theirs.get<std::string>());
    accepted += ours;
  }
  BOOST_TEST(accepted > 1000);
  BOOST_TEST(accepted < 19'000);
}

BOOST_AUTO_TEST_SUITE_END()
