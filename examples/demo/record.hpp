// The numbers of the demo as one JSON file: objects in objects, in the order in which they were added.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/io/file.hpp>
#include <sra/io/json_lines.hpp>
#include <sra/train/validation.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace demo {

/// A JSON object that grows.
class Record {
 public:
  Record& add(std::string_view key, const sra::JsonValue& value) {
    begin(key);
    value.append_to(body_);
    return *this;
  }
  Record& add(std::string_view key, const Record& object) {
    begin(key);
    body_ += object.text();
    return *this;
  }
  template <class Number>
  Record& add(std::string_view key, const std::vector<Number>& array) {
    begin(key);
    body_ += '[';
    for (std::size_t i = 0; i < array.size(); ++i) {
      if (i > 0) body_ += ", ";
      sra::JsonValue(array[i]).append_to(body_);
    }
    body_ += ']';
    return *this;
  }
  /// A mean as `key` and its standard error as `key`_standard_error.
  Record& add(std::string_view key, const sra::Estimate& e) {
    return add(key, e.mean).add(std::string(key) + "_standard_error", e.standard_error);
  }

  std::string text() const { return "{" + body_ + "}"; }
  void write(const std::filesystem::path& path) const {
    sra::atomic_write(path, [&](sra::FileWriter& out) { out.write(text() + "\n"); });
  }

 private:
  void begin(std::string_view key) {
    if (!body_.empty()) body_ += ",\n";
    sra::append_json_string(body_, key);
    body_ += ": ";
  }
  std::string body_;
};

}  // namespace demo
