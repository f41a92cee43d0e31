// JSON as files of ours need it: strict reading of what the caller expects next; quoting of strings.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace sra {

/// Length in bytes of the UTF-8 sequence that starts at s[0]; 0 if it is none (overlong and surrogate forms are none).
inline std::size_t utf8_length(std::string_view s) {
  const auto byte = [&](std::size_t i) { return i < s.size() ? static_cast<unsigned char>(s[i]) : 0u; };
  const auto tail = [&](std::size_t i) { return byte(i) >= 0x80 && byte(i) <= 0xbf; };
  const unsigned first = byte(0), second = byte(1);
  if (s.empty()) return 0;
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return tail(1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    const bool valid = tail(1) && tail(2) && !(first == 0xe0 && second < 0xa0) && !(first == 0xed && second > 0x9f);
    return valid ? 3 : 0;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    const bool in_range = !(first == 0xf0 && second < 0x90) && !(first == 0xf4 && second > 0x8f);
    return in_range && tail(1) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

/// Whether all of s is UTF-8.
inline bool is_utf8(std::string_view s) {
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

/// Appends s to `out` as a JSON string with its quotes.  Bytes that are not UTF-8 become U+FFFD.
inline void append_json_string(std::string& out, std::string_view s) {
  constexpr char digits[] = "0123456789abcdef";
  out += '"';
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    const char c = s[0];
    if (n == 0) {
      out += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      (out += '\\') += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (n == 1 && static_cast<unsigned char>(c) < 0x20) {
      ((out += "\\u00") += digits[c / 16]) += digits[c % 16];
    } else {
      out += s.substr(0, n);
    }
    s.remove_prefix(n == 0 ? 1 : n);
  }
  out += '"';
}

/// s as a JSON string: how names that come from files stand in messages, whatever bytes they have.
inline std::string json_string(std::string_view s) {
  std::string out;
  append_json_string(out, s);
  return out;
}

/// Reads JSON from front to back.  The caller says what must come next, so nesting is as deep as the caller's code and
/// no deeper, and anything else is an Error: "where: expected …, got … at byte …".
class JsonReader {
 public:
  /// @param json must outlive the reader  @param where begins every message
  JsonReader(std::string_view json, std::string where) : json_(json), where_(std::move(where)) {}

  /// An object: calls member(key) in front of each value; member must read the value.  Keys are unique.
  template <class Member>
  void object(Member&& member) {
    std::set<std::string> seen;
    expect('{', "an object");
    if (accept('}')) return;
    do {
      std::string key = string();
      if (!seen.insert(key).second) throw Error(text(where_, ": duplicate key ", json_string(key)));
      expect(':', "':'");
      member(key);
    } while (accept(','));
    expect('}', "',' or '}'");
  }

  /// An array: calls item() in front of each value; item must read the value.
  template <class Item>
  void array(Item&& item) {
    expect('[', "an array");
    if (accept(']')) return;
    do item();
    while (accept(','));
    expect(']', "',' or ']'");
  }

  /// A whole number from 0 to 2^64 - 1, without sign, fraction, exponent or leading zeros.
  std::uint64_t integer() {
    skip_space();
    const std::size_t first = at_;
    std::uint64_t value = 0;
    for (; at_ < json_.size() && json_[at_] >= '0' && json_[at_] <= '9'; ++at_) {
      const bool overflow = __builtin_mul_overflow(value, std::uint64_t{10}, &value) ||
                            __builtin_add_overflow(value, static_cast<std::uint64_t>(json_[at_] - '0'), &value);
      if (overflow) throw Error(text(where_, ": number too large at byte ", first));
    }
    const bool leading_zero = at_ > first + 1 && json_[first] == '0';
    const bool fraction = at_ < json_.size() && (json_[at_] == '.' || json_[at_] == 'e' || json_[at_] == 'E');
    if (at_ == first || leading_zero || fraction) {
      at_ = first;
      fail("a non-negative integer");
    }
    return value;
  }

  /// Any number of JSON that a double can hold.
  double number() {
    skip_space();
    const std::size_t first = at_;
    const auto digits = [&] {
      const std::size_t begin = at_;
      while (at_ < json_.size() && json_[at_] >= '0' && json_[at_] <= '9') ++at_;
      if (at_ == begin) fail("a digit");
      return at_ - begin;
    };
    const auto next_is = [&](char a, char b) { return at_ < json_.size() && (json_[at_] == a || json_[at_] == b); };
    if (next_is('-', '-')) ++at_;
    const std::size_t whole = at_;
    if (digits() > 1 && json_[whole] == '0') at_ = whole, fail("a number without leading zeros");
    if (next_is('.', '.')) ++at_, digits();
    if (next_is('e', 'E')) {
      ++at_;
      if (next_is('+', '-')) ++at_;
      digits();
    }
    double value = 0;
    if (std::from_chars(json_.data() + first, json_.data() + at_, value).ec == std::errc{}) return value;
    at_ = first;
    fail("a number that a double holds");
  }

  /// Whether the word (true, false, null) comes next; then it is read.
  bool accept_word(std::string_view word) {
    skip_space();
    const bool here = json_.substr(at_).starts_with(word);
    at_ += here ? word.size() : 0;
    return here;
  }

  /// The character with which the next value begins; 0 at the end.
  char peek() {
    skip_space();
    return at_ < json_.size() ? json_[at_] : '\0';
  }

  /// A string, as UTF-8.  @param name what to call it in messages
  std::string string(std::string_view name = "a string") {
    expect('"', name);
    std::string out;
    while (true) {
      const std::size_t n = utf8_length(json_.substr(at_));
      if (n == 0 || static_cast<unsigned char>(json_[at_]) < 0x20) fail("a character of a string in UTF-8");
      if (json_[at_] == '"') break;
      if (json_[at_] == '\\') {
        ++at_;
        escape(out);
      } else {
        out += json_.substr(at_, n);
        at_ += n;
      }
    }
    ++at_;
    return out;
  }

  /// Nothing but white space may follow.
  void end() {
    skip_space();
    if (at_ != json_.size()) fail("the end");
  }

  /// Byte where reading goes on.
  std::size_t position() const { return at_; }

  /// @throws Error that says what should have been at the present position
  [[noreturn]] void fail(std::string_view expected) const {
    if (at_ >= json_.size()) throw Error(text(where_, ": expected ", expected, ", got the end at byte ", at_));
    const char c = json_[at_];
    const bool printable = c >= ' ' && c <= '~';
    const std::string got = printable ? text("'", c, "'") : text("byte value ", int{static_cast<unsigned char>(c)});
    throw Error(text(where_, ": expected ", expected, ", got ", got, " at byte ", at_));
  }

 private:
  void skip_space() {
    while (at_ < json_.size() && std::string_view(" \t\r\n").find(json_[at_]) != std::string_view::npos) ++at_;
  }
  bool accept(char c) {
    skip_space();
    const bool here = at_ < json_.size() && json_[at_] == c;
    at_ += here;
    return here;
  }
  void expect(char c, std::string_view name) {
    if (!accept(c)) fail(name);
  }

  /// What follows a backslash.
  void escape(std::string& out) {
    constexpr std::string_view names = "\"\\/bfnrt", values = "\"\\/\b\f\n\r\t";
    if (at_ < json_.size() && json_[at_] == 'u') return unicode(out);
    const std::size_t which = at_ < json_.size() ? names.find(json_[at_]) : std::string_view::npos;
    if (which == std::string_view::npos) fail("an escape of JSON");
    out += values[which];
    ++at_;
  }

  /// "u" and four digits, twice for a surrogate pair.
  void unicode(std::string& out) {
    const std::size_t first = at_;
    const auto lone = [&] {
      at_ = first;
      fail("a surrogate pair");
    };
    std::uint32_t code = code_unit();
    if (code >= 0xdc00 && code <= 0xdfff) lone();
    if (code >= 0xd800 && code <= 0xdbff) {
      if (json_.substr(at_, 2) != "\\u") lone();
      ++at_;
      const std::uint32_t low = code_unit();
      if (low < 0xdc00 || low > 0xdfff) lone();
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    const auto put = [&](std::uint32_t byte) { out += static_cast<char>(static_cast<unsigned char>(byte)); };
    if (code < 0x80) return put(code);
    if (code < 0x800) {
      put(0xc0 | code >> 6);
    } else {
      if (code < 0x10000) {
        put(0xe0 | code >> 12);
      } else {
        put(0xf0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3f));
      }
      put(0x80 | (code >> 6 & 0x3f));
    }
    put(0x80 | (code & 0x3f));
  }

  std::uint32_t code_unit() {
    std::uint32_t value = 0;
    ++at_;
    for (int i = 0; i < 4; ++i, ++at_) {
      const char c = at_ < json_.size() ? json_[at_] : '\0';
      const bool decimal = c >= '0' && c <= '9', lower = c >= 'a' && c <= 'f', upper = c >= 'A' && c <= 'F';
      if (!decimal && !lower && !upper) fail("four hexadecimal digits");
      value = value * 16 + static_cast<std::uint32_t>(decimal ? c - '0' : (lower ? c - 'a' : c - 'A') + 10);
    }
    return value;
  }

  std::string_view json_;
  std::string where_;
  std::size_t at_ = 0;
};

}  // namespace sra
