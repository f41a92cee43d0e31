// Tests JSON trees and numbers against a known reader, and what is refused.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/io/json_tree.hpp>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <cmath>
#include <random>
#include <string>

using namespace sra;
using sra::test::message_of;

namespace {

double read_number(const std::string& json) {
  JsonReader reader(json, "f");
  const double x = reader.number();
  reader.end();
  return x;
}

bool same(const Json& a, const nlohmann::json& b) {
  switch (a.kind()) {
    case Json::Kind::null:
      return b.is_null();
    case Json::Kind::boolean:
      return b.is_boolean() && a.boolean() == b.get<bool>();
    case Json::Kind::number:
      return b.is_number() && a.number() == b.get<double>();
    case Json::Kind::string:
      return b.is_string() && a.string() == b.get<std::string>();
    case Json::Kind::array:
      if (!b.is_array() || a.items().size() != b.size()) return false;
      for (std::size_t i = 0; i < b.size(); ++i)
        if (!same(a.items()[i], b[i])) return false;
      return true;
    case Json::Kind::object:
      break;
  }
  if (!b.is_object() || a.members().size() != b.size()) return false;
  for (const auto& [key, value] : a.members())
    if (!b.contains(key) || !same(value, b[key])) return false;
  return true;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(json_tree)

BOOST_AUTO_TEST_CASE(numbers_are_accepted_exactly_when_others_accept_them) {
  std::mt19937 random(3);
  const std::string pieces[] = {"0", "1", "27", "-", "+", ".", "e", "E", "00", "5e"};
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string s;
    for (auto n = 1 + random() % 5; n > 0; --n) s += pieces[random() % std::size(pieces)];
    const auto theirs = nlohmann::json::parse(s, nullptr, false);
    const bool ours = message_of<Error>([&] { read_number(s); }) == "(nothing was thrown)";
    // What underflows or overflows a double is refused here, others read zero or refuse.
    const bool held = theirs.is_number() && (theirs.get<double>() != 0 || s.find_first_of("123456789") > s.find('e'));
    if (held) BOOST_TEST(ours, s);
    if (ours) BOOST_REQUIRE(theirs.is_number());
    if (ours) BOOST_TEST(read_number(s) == theirs.get<double>(), s);
    accepted += ours;
  }
  BOOST_TEST(accepted > 1000);
}

BOOST_AUTO_TEST_CASE(numbers_that_a_double_does_not_hold_are_refused) {
  BOOST_TEST(read_number("4.9e-324") > 0);
  BOOST_TEST(read_number("1.7976931348623157e308") > 1e308);
  BOOST_TEST(message_of<Error>([] { read_number("1e309"); }) ==
             "f: expected a number that a double holds, got '1' at byte 0");
  BOOST_CHECK_THROW(read_number("NaN"), Error);
  BOOST_CHECK_THROW(read_number("-Infinity"), Error);
}

BOOST_AUTO_TEST_CASE(trees_are_what_others_read) {
  const std::string json =
      R"( {"a": [1, -2.5e-3, true, false, null, "x\"y", [], {}], "b": {"c": {"d": [[0]]}}, "e": ""} )";
  const Json ours = Json::parse(json, "f");
  BOOST_TEST(same(ours, nlohmann::json::parse(json)));
  BOOST_TEST(ours["a"].items()[1].number() == -2.5e-3);
  BOOST_TEST(ours["b"]["c"]["d"].items()[0].items()[0].number(7) == 0);
  BOOST_TEST(ours["b"]["x"]["y"].number(7) == 7);
  BOOST_TEST(ours["e"].number(7) == 7);
  BOOST_TEST(ours.has("e"));
  BOOST_TEST(!ours.has("c"));
}

BOOST_AUTO_TEST_CASE(bad_texts_are_refused_as_others_refuse_them) {
  for (const char* bad :
       {"", "{", "[1,]", "{\"a\"}", "tru", "truex", "nul", "[1 2]", "{\"a\":1,}", "1 2", "\"", "[\"a\x01\"]"}) {
    BOOST_TEST_CONTEXT(bad) {
      BOOST_CHECK_THROW(Json::parse(bad, "f"), Error);
      BOOST_TEST(nlohmann::json::parse(bad, nullptr, false).is_discarded());
    }
  }
  BOOST_CHECK_THROW(Json::parse(R"({"a":1,"a":2})", "f"), Error);
}

BOOST_AUTO_TEST_CASE(nesting_has_a_limit) {
  const auto nested = [](int n) {
    return std::string(static_cast<std::size_t>(n), '[') + std::string(static_cast<std::size_t>(n), ']');
  };
  BOOST_TEST(Json::parse(nested(Json::deepest + 1), "f").items().size() == 1u);
  BOOST_TEST(message_of<Error>([&] { Json::parse(nested(Json::deepest + 2), "f"); }) ==
             "f: expected nesting of at most 32, got more");
  BOOST_CHECK_THROW(Json::parse(std::string(1'000'000, '['), "f"), Error);
}

BOOST_AUTO_TEST_SUITE_END()
