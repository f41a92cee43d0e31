// A file of golden tensors: entries of known shape, images as [B, H, W, C], and the entries that nobody asked for.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/io/safetensors.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace parity {

using sra::index_t;

/// From [N, C, H W] to [N, H W, C].
template <class T>
std::vector<T> channels_last(const std::vector<T>& x, index_t channels, index_t pixels) {
  std::vector<T> y(x.size());
  const index_t images = static_cast<index_t>(x.size()) / (channels * pixels);
  for (index_t b = 0; b < images; ++b)
    for (index_t c = 0; c < channels; ++c)
      for (index_t i = 0; i < pixels; ++i)
        y[static_cast<std::size_t>((b * pixels + i) * channels + c)] =
            x[static_cast<std::size_t>((b * channels + c) * pixels + i)];
  return y;
}

class GoldenFile {
 public:
  explicit GoldenFile(const std::filesystem::path& path) : name_(path.filename().string()), file_(path) {}

  const std::string& name() const { return name_; }

  /// An entry of the metadata.  @throws Error if it is missing
  std::string metadata(const std::string& key) const {
    const auto at = file_.metadata().find(key);
    if (at == file_.metadata().end())
      throw sra::Error(sra::text(name_, ": expected metadata with the key ", key, ", found none"));
    return at->second;
  }
  /// The same as a number.
  double number(const std::string& key) const {
    const std::string s = metadata(key);
    char* end = nullptr;
    const double x = std::strtod(s.c_str(), &end);
    if (s.empty() || *end)
      throw sra::Error(sra::text(name_, ": metadata ", key, ": expected a number, got \"", s, "\""));
    return x;
  }

  bool has(const std::string& tensor) const { return file_.find(tensor) != nullptr; }
  const std::vector<sra::TensorInfo>& tensors() const { return file_.tensors(); }
  /// The first extent of an entry; at least 1.
  index_t batch(const std::string& tensor) const {
    const auto& shape = file_.at(tensor).shape;
    if (shape.empty() || shape[0] < 1)
      throw sra::Error(
          sra::text(name_, ": ", tensor, ": expected a batch of at least 1, got ", sra::shape_text(shape)));
    return shape[0];
  }

  /// The elements of an entry.  @throws Error if it is missing or has another shape
  template <class T>
  std::vector<T> read(const std::string& tensor, const std::vector<index_t>& shape) {
    const sra::TensorInfo& info = file_.at(tensor);
    if (info.shape != shape)
      throw sra::Error(sra::text(name_, ": ", tensor, ": expected the shape ", sra::shape_text(shape), ", got ",
                                 sra::shape_text(info.shape)));
    asked_.insert(tensor);
    return file_.read<T>(tensor);
  }

  /// Marks an entry as known though nothing reads it.
  void know(const std::string& tensor) { asked_.insert(tensor); }
  /// Entries that nobody asked for.
  std::vector<std::string> unknown() const {
    std::vector<std::string> names;
    for (const sra::TensorInfo& info : file_.tensors())
      if (!asked_.contains(info.name)) names.push_back(info.name);
    return names;
  }

 private:
  std::string name_;
  sra::SafeTensors file_;
  std::set<std::string> asked_;
};

}  // namespace parity
