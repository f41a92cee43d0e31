// Tensors in files of the safetensors format: a strict reader, a writer, and the difference to what was expected.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/io/element.hpp>
#include <sra/io/file.hpp>
#include <sra/io/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <map>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace sra {

/// One tensor of a file: dtype "F32", "F64", "BF16", "F16", "I64", "U8", …; bytes [begin, end) counted from the first
/// byte after the header.
struct TensorInfo {
  std::string name;
  std::string dtype;
  std::vector<index_t> shape;
  std::size_t begin = 0, end = 0;
};

/// What a reader expects a tensor to be.
struct TensorSpec {
  std::string name;
  std::string dtype;
  std::vector<index_t> shape;
};

namespace detail {

/// Levenshtein distance of two names: insertions, deletions and replacements of characters.
inline std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 0; i < a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i + 1);
    for (std::size_t j = 0; j < b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i] != b[j]);
      diagonal = row[j + 1];
      row[j + 1] = std::min({replaced, row[j] + 1, diagonal + 1});
    }
  }
  return row.back();
}

/// What the header of a file says, checked against the number of bytes that follow it.
struct SafeTensorsHeader {
  std::vector<TensorInfo> tensors;
  std::map<std::string, std::string> metadata;

  /// @param json the header  @param data_size bytes after it  @param who begins every message
  SafeTensorsHeader(std::string_view json, std::size_t data_size, const std::string& who) {
    JsonReader reader(json, who + ": header");
    if (!json.starts_with('{')) reader.fail("an object");
    reader.object([&](const std::string& key) {
      if (key != "__metadata__") return tensors.push_back(tensor(reader, key, who));
      reader.object([&](const std::string& name) { metadata[name] = reader.string("a string as metadata"); });
    });
    reader.end();
    check_ranges(data_size, who);
  }

 private:
  static TensorInfo tensor(JsonReader& reader, const std::string& name, const std::string& who) {
    TensorInfo info{.name = name, .dtype = {}, .shape = {}};
    std::vector<std::uint64_t> offsets;
    bool shaped = false;
    const std::string subject = who + ": tensor " + json_string(name);
    reader.object([&](const std::string& key) {
      if (key == "dtype") {
        info.dtype = reader.string();
      } else if (key == "shape") {
        shaped = true;
        reader.array([&] {
          const std::uint64_t extent = reader.integer();
          if (!std::in_range<index_t>(extent)) throw Error(text(subject, ": extent ", extent, " overflows"));
          info.shape.push_back(static_cast<index_t>(extent));
        });
      } else if (key == "data_offsets") {
        reader.array([&] { offsets.push_back(reader.integer()); });
      } else {
        throw Error(text(subject, ": expected dtype, shape and data_offsets, got ", json_string(key)));
      }
    });
    if (info.dtype.empty() || !shaped || offsets.size() != 2) {
      throw Error(text(subject, ": expected dtype, shape and two data_offsets, got a description without them"));
    }
    info.begin = offsets[0];
    info.end = offsets[1];
    check_size(info, subject);
    return info;
  }

  static void check_size(const TensorInfo& info, const std::string& subject) {
    const std::size_t element_size = dtype_size(info.dtype);
    if (element_size == 0) throw Error(text(subject, ": unknown dtype ", json_string(info.dtype)));
    const std::size_t expected = checked_bytes(subject, element_size, info.shape);
    if (info.end < info.begin || info.end - info.begin != expected) {
      throw Error(text(subject, ": expected ", expected, " bytes for ", info.dtype, " ", shape_text(info.shape),
                       ", got the range ", info.begin, " to ", info.end));
    }
  }

  /// Orders the tensors by their place in the file; together they must be all of it.
  void check_ranges(std::size_t data_size, const std::string& who) {
    std::sort(tensors.begin(), tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
      return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
    });
    std::size_t at = 0;
    for (const TensorInfo& info : tensors) {
      const std::string subject = who + ": tensor " + json_string(info.name);
      if (info.end > data_size) {
        throw Error(text(subject, ": range ", info.begin, " to ", info.end, " is past the end: the file has ",
                         data_size, " bytes of data"));
      }
      if (info.begin < at)
        throw Error(text(subject, ": begins at byte ", info.begin, ", overlaps the one that ends at ", at));
      if (info.begin > at)
        throw Error(text(subject, ": begins at byte ", info.begin, ", leaves a hole after byte ", at));
      at = info.end;
    }
    if (at != data_size) throw Error(text(who, ": ", data_size - at, " trailing bytes after the last tensor"));
  }
};

}  // namespace detail

/// The header of a safetensors file must be no longer than this many bytes, as in the reference implementation.
inline constexpr std::size_t safetensors_header_limit = 100'000'000;

/// A file of tensors.  Strict: everything in it is checked on opening, before anything is allocated for a tensor.  The
/// file is mapped, so opening a large one costs nothing.
/// Format: 8 bytes, little-endian, with the length of the header; the header, JSON; the data without gaps.
class SafeTensors {
 public:
  /// @throws Error "SafeTensors: path: …" naming what is wrong
  explicit SafeTensors(const std::filesystem::path& path) : SafeTensors(MappedFile(path), path.string()) {}

  /// Reads from memory, which must outlive the object.  @param name stands for the path in messages
  SafeTensors(std::span<const std::byte> file, const std::string& name) : who_("SafeTensors: " + name) {
    if (file.size() < 8) throw Error(text(who_, ": truncated: expected at least 8 bytes, got ", file.size()));
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    if (length > safetensors_header_limit) {
      throw Error(
          text(who_, ": header too large: expected at most ", safetensors_header_limit, " bytes, got ", length));
    }
    if (length > file.size() - 8) {
      throw Error(text(who_, ": truncated: header of ", length, " bytes in a file of ", file.size(), " bytes"));
    }
    data_ = file.subspan(8 + length);
    const std::string_view json(reinterpret_cast<const char*>(file.data()) + 8, length);
    detail::SafeTensorsHeader header(json, data_.size(), who_);
    tensors_ = std::move(header.tensors);
    metadata_ = std::move(header.metadata);
    for (std::size_t i = 0; i < tensors_.size(); ++i) places_[tensors_[i].name] = i;
  }

  /// All tensors, ordered by their place in the file; empty ones at the same place in the order of the header.
  const std::vector<TensorInfo>& tensors() const { return tensors_; }
  const std::map<std::string, std::string>& metadata() const { return metadata_; }

  /// The tensor of this name, or nullptr.
  const TensorInfo* find(std::string_view name) const {
    const auto at = places_.find(name);
    return at == places_.end() ? nullptr : &tensors_[at->second];
  }

  /// The tensor of this name.  @throws Error that names the most similar key
  const TensorInfo& at(std::string_view name) const {
    if (const TensorInfo* info = find(name)) return *info;
    throw Error(text(who_, ": no tensor ", json_string(name), suggestion(name)));
  }

  /// The bytes of a tensor of this file, where they are: at no particular alignment.
  std::span<const std::byte> bytes(const TensorInfo& info) const {
    if (info.begin > info.end || info.end > data_.size())
      throw Error(text(who_, ": ", json_string(info.name), " is of another file"));
    return data_.subspan(info.begin, info.end - info.begin);
  }

  /// The elements of a tensor as T, in row-major order: to a floating-point type by rounding to nearest, to an integer
  /// type only from integers that fit.  @throws Error for an unknown name and for numbers that cannot be converted
  template <class T>
  std::vector<T> read(std::string_view name) const {
    const TensorInfo& info = at(name);
    return convert_elements<T>(text(who_, ": tensor ", json_string(name)), info.dtype, bytes(info));
  }

 private:
  SafeTensors(MappedFile file, const std::string& name) : SafeTensors(file.bytes(), name) { file_ = std::move(file); }

  std::string suggestion(std::string_view name) const {
    const std::string* nearest = nullptr;
    std::size_t best = std::numeric_limits<std::size_t>::max();
    for (const TensorInfo& info : tensors_) {
      const std::size_t a = info.name.size(), b = name.size();
      if ((a > b ? a - b : b - a) >= best) continue;  // the distance is at least that
      const std::size_t distance = detail::edit_distance(info.name, name);
      if (distance < best) nearest = &info.name;
      best = std::min(best, distance);
    }
    return nearest ? text("; the nearest is ", json_string(*nearest)) : "; the file has no tensors";
  }

  std::string who_;
  MappedFile file_;
  std::span<const std::byte> data_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, std::string> metadata_;
  std::map<std::string, std::size_t, std::less<>> places_;
};

/// Everything in which a file differs from what is expected, one line each: missing, wrong dtype, wrong shape (in the
/// order of `expected`), then unexpected tensors (in the order of the file).  Empty if there is no difference.
/// @param matters whether a tensor of this name, if unexpected, is a difference
template <class Matters>
std::string diff(const std::vector<TensorSpec>& expected, const SafeTensors& file, Matters matters) {
  std::string lines;
  std::set<std::string_view> known;
  for (const TensorSpec& spec : expected) {
    known.insert(spec.name);
    const TensorInfo* info = file.find(spec.name);
    if (!info) {
      lines += text("missing: ", spec.name, ": expected ", spec.dtype, " ", shape_text(spec.shape), "\n");
      continue;
    }
    if (info->dtype != spec.dtype) {
      lines += text("wrong dtype: ", spec.name, ": expected ", spec.dtype, ", file has ", info->dtype, "\n");
    }
    if (info->shape != spec.shape) {
      lines += text("wrong shape: ", spec.name, ": expected ", shape_text(spec.shape), ", file has ",
                    shape_text(info->shape), "\n");
    }
  }
  for (const TensorInfo& info : file.tensors()) {
    if (!known.contains(info.name) && matters(info.name)) {
      lines += text("unexpected: ", info.name, ": file has ", info.dtype, " ", shape_text(info.shape), "\n");
    }
  }
  return lines;
}

inline std::string diff(const std::vector<TensorSpec>& expected, const SafeTensors& file) {
  return diff(expected, file, [](const std::string&) { return true; });
}

/// Collects tensors and writes them as one file.  Elements stay where they are until write() has streamed them.
/// The data begin at a multiple of 64 bytes.  The format allows no gaps between tensors, so the widest dtypes come
/// first (otherwise the order is that of add()): every tensor is aligned to its element size, and to 64 bytes if the
/// sizes before it are multiples of 64.  Equal calls write equal bytes.
class SafeTensorsWriter {
 public:
  /// Adds a tensor.  @param bytes row-major elements, alive until write()
  /// @throws Error for a name that is taken, reserved or not UTF-8, an unknown dtype, bytes that do not match the shape
  void add(std::string name, std::string dtype, std::vector<index_t> shape, std::span<const std::byte> bytes) {
    const std::string who = "SafeTensorsWriter: tensor " + json_string(name);
    const std::size_t element_size = dtype_size(dtype);
    if (element_size == 0) throw Error(text(who, ": unknown dtype ", json_string(dtype)));
    if (name == "__metadata__" || !is_utf8(name))
      throw Error(text(who, ": expected another name, this one is reserved or not UTF-8"));
    const std::size_t expected = checked_bytes(who, element_size, shape);
    if (bytes.size() != expected) {
      throw Error(
          text(who, ": expected ", expected, " bytes for ", dtype, " ", shape_text(shape), ", got ", bytes.size()));
    }
    if (!places_.emplace(name, entries_.size()).second) throw Error(text(who, ": added twice"));
    entries_.push_back({{std::move(name), std::move(dtype), std::move(shape)}, bytes});
  }

  /// Adds a tensor of float, double, bf16 or an integer type.
  template <class T>
  void add(std::string name, std::vector<index_t> shape, std::span<const T> elements) {
    add(std::move(name), std::string(dtype_of<T>()), std::move(shape), std::as_bytes(elements));
  }

  /// Sets an entry of the metadata.  @throws Error if key or value is not UTF-8
  void set_metadata(const std::string& key, const std::string& value) {
    if (!is_utf8(key) || !is_utf8(value))
      throw Error(text("SafeTensorsWriter: metadata ", json_string(key), ": expected UTF-8"));
    metadata_[key] = value;
  }

  /// Writes the file by atomic_write: whole or not at all.  Also removes what killed writers left in the folder.
  void write(const std::filesystem::path& path) const {
    write(path, [](FileWriter& out, std::span<const std::byte> bytes) { out.write(bytes.data(), bytes.size()); });
  }

  /// The same for elements that the host cannot read where they are.
  /// @param put called as put(out, bytes) for each tensor: writes what these addresses stand for
  template <class Put>
  void write(const std::filesystem::path& path, Put put) const {
    std::vector<const Entry*> order;
    for (std::size_t size = 8; size > 0; size /= 2)  // wide elements first: all stay aligned
      for (const Entry& entry : entries_)
        if (dtype_size(entry.spec.dtype) == size) order.push_back(&entry);
    const std::string json = header(order);
    if (json.size() > safetensors_header_limit) {
      throw Error(text("SafeTensorsWriter: ", path.string(), ": header too large: expected at most ",
                       safetensors_header_limit, " bytes, got ", json.size()));
    }
    remove_abandoned(path.has_parent_path() ? path.parent_path() : std::filesystem::path("."));
    atomic_write(path, [&](FileWriter& out) {
      const std::uint64_t length = json.size();
      out.write(&length, sizeof length);
      out.write(json);
      for (const Entry* entry : order) put(out, entry->bytes);
    });
  }

 private:
  struct Entry {
    TensorSpec spec;
    std::span<const std::byte> bytes;
  };

  std::string header(const std::vector<const Entry*>& order) const {
    std::string json = "{\"__metadata__\":{";
    for (const auto& [key, value] : metadata_) {
      if (json.back() != '{') json += ',';
      append_json_string(json, key);
      json += ':';
      append_json_string(json, value);
    }
    json += '}';
    std::size_t begin = 0;
    for (const Entry* entry : order) {
      std::size_t end = 0;
      if (__builtin_add_overflow(begin, entry->bytes.size(), &end))
        throw Error("SafeTensorsWriter: the sum of all sizes overflows");
      json += ',';
      append_json_string(json, entry->spec.name);
      json += text(":{\"dtype\":\"", entry->spec.dtype, "\",\"shape\":", shape_text(entry->spec.shape),
                   ",\"data_offsets\":[", begin, ",", end, "]}");
      begin = end;
    }
    json += '}';
    json.append(round_up(8 + json.size(), std::size_t{64}) - 8 - json.size(), ' ');
    return json;
  }

  std::vector<Entry> entries_;
  std::map<std::string, std::size_t> places_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace sra
