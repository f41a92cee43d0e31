// A JSON value with everything in it, for files whose shape is not known beforehand.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/io/json.hpp>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sra {

/// A value of JSON.  What it is not reads as empty: number() of a string is the fallback, items() of a number has none.
class Json {
 public:
  enum class Kind { null, boolean, number, string, array, object };
  using Member = std::pair<std::string, Json>;
  /// How deep arrays and objects may lie in each other.
  static constexpr int deepest = 32;

  Json() = default;

  /// Reads all of a text.  @param where begins messages  @throws Error for anything that is not one value of JSON, for duplicate
  /// keys, and for nesting deeper than `deepest`
  static Json parse(std::string_view json, const std::string& where) {
    JsonReader reader(json, where);
    Json value = read(reader, where, 0);
    reader.end();
    return value;
  }

  Kind kind() const { return kind_; }
  double number(double fallback = 0) const { return kind_ == Kind::number ? number_ : fallback; }
  bool boolean() const { return kind_ == Kind::boolean && number_ != 0; }
  const std::string& string() const { return string_; }
  /// Of an array.
  const std::vector<Json>& items() const { return items_; }
  /// Of an object, in the file's order.
  const std::vector<Member>& members() const { return members_; }

  /// A member of an object, or null if there is none of this name.
  const Json& operator[](std::string_view key) const {
    static const Json none;
    for (const auto& [name, value] : members_)
      if (name == key) return value;
    return none;
  }
  /// Whether it is an object with this member.
  bool has(std::string_view key) const { return (*this)[key].kind_ != Kind::null; }

 private:
  static Json read(JsonReader& reader, const std::string& where, int depth) {
    if (depth > deepest) throw Error(text(where, ": expected nesting of at most ", deepest, ", got more"));
    Json value;
    switch (reader.peek()) {
      case '{':
        value.kind_ = Kind::object;
        reader.object(
            [&](const std::string& key) { value.members_.emplace_back(key, read(reader, where, depth + 1)); });
        return value;
      case '[':
        value.kind_ = Kind::array;
        reader.array([&] { value.items_.push_back(read(reader, where, depth + 1)); });
        return value;
      case '"':
        value.kind_ = Kind::string;
        value.string_ = reader.string();
        return value;
      default:
        break;
    }
    if (reader.accept_word("null")) return value;
    const bool yes = reader.accept_word("true");
    value.kind_ = yes || reader.accept_word("false") ? Kind::boolean : Kind::number;
    value.number_ = value.kind_ == Kind::boolean ? (yes ? 1 : 0) : reader.number();
    return value;
  }

  Kind kind_ = Kind::null;
  double number_ = 0;
  std::string string_;
  std::vector<Json> items_;
  std::vector<Member> members_;
};

}  // namespace sra
