// A log of one JSON object per line that survives a killed process.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/io/file.hpp>
#include <sra/io/json.hpp>

#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>

namespace sra {

/// A number, a truth value or a string for a line of the log.  Refers to the string, does not copy it.
class JsonValue {
 public:
  template <std::same_as<bool> Bool>
  JsonValue(Bool value) : value_(value) {}
  template <std::signed_integral Integer>
  JsonValue(Integer value) : value_(std::int64_t{value}) {}
  template <std::unsigned_integral Integer>
    requires(!std::same_as<Integer, bool>)
  JsonValue(Integer value) : value_(std::uint64_t{value}) {}
  JsonValue(float value) : value_(value) {}
  JsonValue(double value) : value_(value) {}
  JsonValue(const char* value) : value_(std::string_view(value)) {}
  JsonValue(std::string_view value) : value_(value) {}
  JsonValue(const std::string& value) : value_(std::string_view(value)) {}

  /// Appends the value as JSON: numbers with the fewest digits that read back as the same number; NaN and infinities,
  /// which JSON does not have, as null.
  void append_to(std::string& out) const {
    std::visit(
        [&](auto value) {
          using T = decltype(value);
          if constexpr (std::is_same_v<T, bool>) {
            out += value ? "true" : "false";
          } else if constexpr (std::is_same_v<T, std::string_view>) {
            append_json_string(out, value);
          } else {
            if constexpr (std::is_floating_point_v<T>) {
              if (!std::isfinite(value)) return void(out += "null");
            }
            char digits[32];
            out.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
          }
        },
        value_);
  }

 private:
  std::variant<bool, std::int64_t, std::uint64_t, float, double, std::string_view> value_;
};

/// A key and its value.
struct JsonField {
  std::string_view key;
  JsonValue value;
};

/// Appends one object on a line of its own.
inline void append_json_line(std::string& out, std::span<const JsonField> fields) {
  const char* separator = "{";
  for (const JsonField& field : fields) {
    out += std::exchange(separator, ",");
    append_json_string(out, field.key);
    out += ':';
    field.value.append_to(out);
  }
  out += fields.empty() ? "{}\n" : "}\n";
}
inline void append_json_line(std::string& out, std::initializer_list<JsonField> fields) {
  append_json_line(out, std::span(fields.begin(), fields.size()));
}

/// Appends objects to a file, one per line: `log.write({{"step", 12}, {"loss", 0.5}, {"note", "x"}});`
/// Each line is handed to the system at once, so it survives a killed process (not a power cut).
class JsonLines {
 public:
  /// Opens for appending, makes the file if there is none.  A last line without its end, left by a killed process, is
  /// cut off.  @throws Error if the file cannot be opened or repaired
  explicit JsonLines(const std::filesystem::path& path) : file_(path) {}

  /// Appends one line.  @throws Error if it could not be written; then nothing of it stays in the file
  void write(std::initializer_list<JsonField> fields) { write(std::span(fields.begin(), fields.size())); }
  void write(std::span<const JsonField> fields) {
    line_.clear();
    append_json_line(line_, fields);
    file_.append(line_);
  }

 private:
  LineFile file_;
  std::string line_;  // kept, so that writing does not allocate
};

}  // namespace sra
