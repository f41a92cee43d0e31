// A log of one JSON object per line that survives a killed process.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/io/file.hpp>
#include <sra/io/json.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
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
  requires(!std::same_as<Integer, bool>) JsonValue(Integer value) : value_(std::uint64_t{value}) {}
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

/// Appends objects to a file, one per line: `log.write({{"step", 12}, {"loss", 0.5}, {"note", "x"}});`
/// Each line is handed to the system at once, so it survives a killed process (not a power cut).
class JsonLines {
 public:
  /// Opens for appending, makes the file if there is none.  A last line without its end, left by a killed process, is
  /// cut off.  @throws Error if the file cannot be opened or repaired
  explicit JsonLines(const std::filesystem::path& path)
      : path_(path.string()), file_(detail::open_file(path, O_RDWR | O_CREAT | O_APPEND)) {
    if (!file_) throw failure("cannot open", errno);
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) throw failure("cannot read its size", errno);
    regular_ = S_ISREG(status.st_mode);
    if (regular_) repair(status.st_size);
  }

  /// Appends one line.  @throws Error if it could not be written; then nothing of it stays in the file
  void write(std::initializer_list<JsonField> fields) { write(std::span(fields.begin(), fields.size())); }
  void write(std::span<const JsonField> fields) {
    line_ = '{';
    for (const JsonField& field : fields) {
      if (line_.size() > 1) line_ += ',';
      append_json_string(line_, field.key);
      line_ += ':';
      field.value.append_to(line_);
    }
    line_ += "}\n";
    const std::size_t written = detail::write_fully(file_.get(), line_.data(), line_.size());
    if (written == line_.size()) return;
    const int code = errno;
    if (regular_ && written > 0) {
      const off_t end = ::lseek(file_.get(), 0, SEEK_CUR);
      if (::ftruncate(file_.get(), end - static_cast<off_t>(written)) != 0) {
        throw failure("cannot remove half a line", errno);
      }
    }
    throw failure(text("cannot write a line of ", line_.size(), " bytes"), code);
  }

 private:
  Error failure(const std::string& what, int code) const {
    return detail::system_failure("JsonLines", path_, what, code);
  }

  /// Cuts the file behind its last end of line.
  void repair(off_t size) {
    char block[4096];
    off_t end = size;
    while (end > 0) {
      const off_t begin = end > off_t{sizeof block} ? end - off_t{sizeof block} : 0;
      const ssize_t n = ::pread(file_.get(), block, static_cast<std::size_t>(end - begin), begin);
      if (n != end - begin) throw failure("cannot read its end", n < 0 ? errno : EIO);
      const std::size_t last = std::string_view(block, static_cast<std::size_t>(n)).rfind('\n');
      if (last != std::string_view::npos) {
        end = begin + static_cast<off_t>(last) + 1;
        break;
      }
      end = begin;
    }
    if (end != size && ::ftruncate(file_.get(), end) != 0) throw failure("cannot cut off half a line", errno);
  }

  std::string path_;
  detail::Descriptor file_;
  bool regular_ = false;
  std::string line_;  // kept, so that writing does not allocate
};

}  // namespace sra
