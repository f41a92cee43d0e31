// NumPy's .npy files: one array, row-major, of float, double, int32, int64 or uint8.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/io/element.hpp>
#include <sra/io/file.hpp>
#include <sra/io/json.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sra {

namespace detail {

/// NumPy's names of the element types, and those of safetensors.
inline constexpr std::pair<std::string_view, std::string_view> npy_types[] = {
    {"<f4", "F32"}, {"<f8", "F64"}, {"<i8", "I64"}, {"<i4", "I32"}, {"|u1", "U8"}};

/// The header of a .npy file, a dictionary of Python: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
class NpyHeader {
 public:
  std::string descr;
  std::vector<index_t> shape;

  NpyHeader(std::string_view header, std::string who) : rest_(header), who_(std::move(who)) {
    std::set<std::string> seen;
    expect("{");
    while (!accept("}")) {
      const std::string key = quoted();
      if (!seen.insert(key).second) throw Error(text(who_, ": duplicate key '", key, "'"));
      expect(":");
      value(key);
      if (!accept(",") && !peek("}")) fail("',' or '}'");
    }
    skip_space();
    if (!rest_.empty()) fail("the end");
    if (seen.size() != 3)
      throw Error(text(who_, ": expected descr, fortran_order and shape, got ", seen.size(), " keys"));
  }

 private:
  void value(const std::string& key) {
    if (key == "descr") {
      descr = quoted();
    } else if (key == "fortran_order") {
      if (!accept("False")) fail("False (row-major order)");
    } else if (key == "shape") {
      expect("(");
      while (!accept(")")) {
        shape.push_back(extent());
        if (!accept(",") && !peek(")")) fail("',' or ')'");
      }
    } else {
      throw Error(text(who_, ": expected descr, fortran_order or shape, got '", key, "'"));
    }
  }
  index_t extent() {
    skip_space();
    index_t n = 0;
    const auto [end, status] = std::from_chars(rest_.data(), rest_.data() + rest_.size(), n);
    if (status != std::errc() || n < 0) fail("an extent");
    rest_.remove_prefix(static_cast<std::size_t>(end - rest_.data()));
    return n;
  }
  std::string quoted() {
    expect("'");
    const std::size_t end = rest_.find('\'');
    if (end == std::string_view::npos) fail("a string in single quotes");
    const std::string s(rest_.substr(0, end));
    rest_.remove_prefix(end + 1);
    return s;
  }
  void skip_space() {
    while (rest_.starts_with(' ') || rest_.starts_with('\n')) rest_.remove_prefix(1);
  }
  bool peek(std::string_view what) {
    skip_space();
    return rest_.starts_with(what);
  }
  bool accept(std::string_view what) {
    const bool here = peek(what);
    if (here) rest_.remove_prefix(what.size());
    return here;
  }
  void expect(std::string_view what) {
    if (!accept(what)) fail(what);
  }
  [[noreturn]] void fail(std::string_view expected) const {
    throw Error(text(who_, ": header: expected ", expected, ", got ", json_string(rest_.substr(0, 20))));
  }

  std::string_view rest_;
  std::string who_;
};

}  // namespace detail

/// A .npy file of version 1 or 2, checked on opening.
class Npy {
 public:
  /// @throws Error "Npy: path: …" naming what is wrong
  explicit Npy(const std::filesystem::path& path) : Npy(MappedFile(path), path.string()) {}

  /// Reads from memory, which must outlive the object.  @param name stands for the path in messages
  Npy(std::span<const std::byte> file, const std::string& name) : who_("Npy: " + name) {
    constexpr std::string_view magic = "\x93NUMPY";
    const std::string_view all(reinterpret_cast<const char*>(file.data()), file.size());
    if (!all.starts_with(magic)) throw Error(text(who_, ": expected a .npy file, got something else"));
    const int version = all.size() < 10 ? 0 : all[6];
    if ((version != 1 && version != 2) || all[7] != 0) throw Error(text(who_, ": expected version 1.0 or 2.0"));
    const std::size_t width = version == 1 ? 2 : 4, begin = 8 + width;
    std::uint32_t length = 0;
    if (all.size() >= begin) std::memcpy(&length, all.data() + 8, width);
    if (all.size() < begin || length > all.size() - begin) throw Error(text(who_, ": truncated in its header"));
    detail::NpyHeader header(all.substr(begin, length), who_);
    for (const auto& [numpy, dtype] : detail::npy_types) {
      if (header.descr == numpy) dtype_ = dtype;
    }
    if (dtype_.empty()) throw Error(text(who_, ": expected dtype <f4, <f8, <i8, <i4 or |u1, got ", header.descr));
    shape_ = std::move(header.shape);
    bytes_ = file.subspan(begin + length);
    const std::size_t expected = checked_bytes(who_, dtype_size(dtype_), shape_);
    if (bytes_.size() != expected) {
      throw Error(
          text(who_, ": expected ", expected, " bytes for shape ", shape_text(shape_), ", got ", bytes_.size()));
    }
  }

  /// In the names of safetensors: F32, F64, I64, I32 or U8.
  const std::string& dtype() const { return dtype_; }
  const std::vector<index_t>& shape() const { return shape_; }
  std::span<const std::byte> bytes() const { return bytes_; }

  /// The elements as T, row-major, converted as by SafeTensors::read.
  template <class T>
  std::vector<T> read() const {
    return convert_elements<T>(who_, dtype_, bytes_);
  }

 private:
  Npy(MappedFile file, const std::string& name) : Npy(file.bytes(), name) { file_ = std::move(file); }

  std::string who_, dtype_;
  MappedFile file_;
  std::vector<index_t> shape_;
  std::span<const std::byte> bytes_;
};

/// Writes one array as .npy, version 1, data at a multiple of 64 bytes; whole or not at all.
/// @param elements row-major, as many as `shape` says  @throws Error if they are not, or if writing fails
template <class T>
void write_npy(const std::filesystem::path& path, std::span<const T> elements, const std::vector<index_t>& shape) {
  std::string descr;
  for (const auto& [numpy, dtype] : detail::npy_types) {
    if (dtype == dtype_of<T>()) descr = numpy;
  }
  const std::string who = "write_npy: " + path.string();
  if (descr.empty()) throw Error(text(who, ": expected F32, F64, I64, I32 or U8, got ", dtype_of<T>()));
  const std::size_t expected = checked_bytes(who, sizeof(T), shape);
  if (elements.size_bytes() != expected) {
    throw Error(
        text(who, ": expected ", expected, " bytes for shape ", shape_text(shape), ", got ", elements.size_bytes()));
  }
  std::string header = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (";
  for (const index_t extent : shape) header += std::to_string(extent) + ",";
  header += "), }";
  header.append(round_up(10 + header.size() + 1, std::size_t{64}) - 10 - header.size() - 1, ' ');
  header += '\n';
  if (header.size() > 0xffff) throw Error(text(who, ": too many extents"));
  atomic_write(path, [&](FileWriter& out) {
    const auto length = static_cast<std::uint16_t>(header.size());
    out.write(std::string_view("\x93NUMPY\x01\x00", 8));
    out.write(&length, sizeof length);
    out.write(header);
    out.write(elements.data(), elements.size_bytes());
  });
}

}  // namespace sra
