// A data set of image files, one folder a class.  Needs libjpeg and libpng (-ljpeg -lpng).
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/data/dataset.hpp>
#include <sra/extra/image_file.hpp>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace sra {

namespace detail {

/// Cubic convolution with a = −1/2.  Keys 1981, "Cubic convolution interpolation for digital image processing".
inline double cubic(double x) {
  x = std::fabs(x);
  if (x >= 2) return 0;
  return x < 1 ? (1.5 * x - 2.5) * x * x + 1 : ((-0.5 * x + 2.5) * x - 4) * x + 2;
}

/// What one value of a resized line is made of: weights of neighbouring values of the source, which sum to 1.
struct Taps1d {
  index_t first = 0;
  std::vector<float> weight;
};

/// The cubic, widened by the ratio where the line becomes shorter, so that every value of the source counts.
/// @param from extent of the source  @param to extent of the result, taken from [start, start + length)
inline std::vector<Taps1d> resize_taps(index_t from, index_t to, double start, double length) {
  const double ratio = length / static_cast<double>(to), wide = std::max(ratio, 1.0);
  std::vector<Taps1d> taps(static_cast<std::size_t>(to));
  for (index_t i = 0; i < to; ++i) {
    const double centre = start + (static_cast<double>(i) + 0.5) * ratio - 0.5;
    const index_t first = std::max<index_t>(0, static_cast<index_t>(std::ceil(centre - 2 * wide)));
    const index_t last = std::min<index_t>(from - 1, static_cast<index_t>(std::floor(centre + 2 * wide)));
    auto& t = taps[static_cast<std::size_t>(i)];
    t.first = first;
    double sum = 0;
    for (index_t k = first; k <= last; ++k) sum += cubic((static_cast<double>(k) - centre) / wide);
    for (index_t k = first; k <= last; ++k)
      t.weight.push_back(static_cast<float>(cubic((static_cast<double>(k) - centre) / wide) / sum));
  }
  return taps;
}

/// Crops the middle to the ratio of width and height, and resizes it.  @return [height, width, 3] in [0, 255]
inline std::vector<float> crop_and_resize(const Picture& picture, index_t height, index_t width) {
  const auto h = static_cast<double>(picture.height), w = static_cast<double>(picture.width);
  const double across = std::min(w, h * static_cast<double>(width) / static_cast<double>(height));
  const double down = std::min(h, w * static_cast<double>(height) / static_cast<double>(width));
  const auto columns = resize_taps(picture.width, width, std::floor((w - across) / 2), across);
  const auto rows = resize_taps(picture.height, height, std::floor((h - down) / 2), down);

  // Columns first; only the rows of the source that rows below need.
  const index_t top = rows.front().first, bottom = rows.back().first + static_cast<index_t>(rows.back().weight.size());
  const auto line = static_cast<std::size_t>(width * 3);
  std::vector<float> narrow(static_cast<std::size_t>(bottom - top) * line);
  float* to = narrow.data();
  for (index_t y = top; y < bottom; ++y)
    for (const auto& t : columns) {
      const std::uint8_t* from = picture.rgb.data() + (y * picture.width + t.first) * 3;
      float sum[3] = {};
      for (const float weight : t.weight)
        for (int c = 0; c < 3; ++c) sum[c] += weight * static_cast<float>(*from++);
      to = std::copy(sum, sum + 3, to);
    }

  std::vector<float> out(rows.size() * line);
  for (std::size_t y = 0; y < rows.size(); ++y) {
    float* sum = out.data() + y * line;
    const float* from = narrow.data() + static_cast<std::size_t>(rows[y].first - top) * line;
    for (const float weight : rows[y].weight)
      for (std::size_t x = 0; x < line; ++x) sum[x] += weight * *from++;
    for (std::size_t x = 0; x < line; ++x) sum[x] = std::clamp(sum[x], 0.0f, 255.0f);
  }
  return out;
}

}  // namespace detail

/// What may be chosen about an ImageFolder.
struct ImageFolderOptions {
  bool flip = false;  ///< mirrors every second image, by chance
};

/// The files DIR/CLASS/*.jpg, *.jpeg, *.png, in the order of their names; a class is a folder, its label the folder's
/// place in the order of names.  Folders and files whose names begin with a dot are left out.  An image is cropped in
/// its middle to the ratio of the sample and resized with an antialiased cubic; one of the right size is taken as it
/// is. Values are v / 127.5 − 1.  A sample has 3 channels, or 1: 0.299 R + 0.587 G + 0.114 B. `read` throws
/// UnreadableSample with the file's name and what is wrong with it.
template <ImageLike S>
class ImageFolder {
 public:
  using Sample = S;
  static_assert(S::channels == 1 || S::channels == 3, "ImageFolder<Sample>: the sample must have 1 or 3 channels");

  explicit ImageFolder(std::filesystem::path folder, ImageFolderOptions options = {})
      : folder_(std::move(folder)), options_(options) {
    namespace fs = std::filesystem;
    std::error_code error;
    if (!fs::is_directory(folder_, error))
      throw Error(text("ImageFolder: ", folder_.string(), ": expected a folder, got ",
                       fs::exists(folder_, error) ? "something else" : "nothing of that name"));
    try {
      list();
    } catch (const fs::filesystem_error& e) {
      throw Error(text("ImageFolder: ", e.path1().string(), ": expected a readable folder, got ", e.code().message()));
    }
    if (names_.empty())
      throw Error(text("ImageFolder: ", folder_.string(), ": expected a folder for each class, found none"));
    if (items_.empty())
      throw Error(text("ImageFolder: ", folder_.string(), ": expected .jpg, .jpeg or .png files in the folders of ",
                       names_.size(), " classes, found none"));
  }

  std::size_t size() const { return items_.size(); }
  int classes() const { return static_cast<int>(names_.size()); }
  /// The folders' names, by label.
  const std::vector<std::string>& names() const { return names_; }
  /// The file of an item.
  std::filesystem::path path(std::size_t i) const {
    const auto& item = items_.at(i);
    return folder_ / names_[static_cast<std::size_t>(item.label)] / item.file;
  }

  void read(std::size_t i, Rng rng, Row<Sample> out) const {
    const Picture picture = [&] {
      try {
        return read_image(path(i));
      } catch (const Error& e) {
        throw UnreadableSample(text("ImageFolder: ", path(i).string(), ": expected a readable image, got ", e.what()));
      }
    }();
    const auto pixels = detail::crop_and_resize(picture, S::height, S::width);
    const bool mirrored = options_.flip && rng.uniform(0) < 0.5f;
    for (index_t y = 0; y < S::height; ++y)
      for (index_t x = 0; x < S::width; ++x) {
        const float* from = pixels.data() + (y * S::width + (mirrored ? S::width - 1 - x : x)) * 3;
        float* to = out.image.data() + (y * S::width + x) * S::channels;
        if constexpr (S::channels == 3)
          for (int c = 0; c < 3; ++c) to[c] = from[c] / 127.5f - 1;
        else
          to[0] = (0.299f * from[0] + 0.587f * from[1] + 0.114f * from[2]) / 127.5f - 1;
      }
    out.label = items_[i].label;
  }

 private:
  struct Item {
    std::string file;
    std::int32_t label;
  };

  static bool hidden(const std::filesystem::path& path) { return path.filename().string().starts_with('.'); }
  static bool is_image(const std::filesystem::path& path) {
    std::string ending = path.extension().string();
    for (auto& c : ending) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return !hidden(path) && (ending == ".jpg" || ending == ".jpeg" || ending == ".png");
  }

  void list() {
    namespace fs = std::filesystem;
    for (const auto& entry : fs::directory_iterator(folder_))
      if (entry.is_directory() && !hidden(entry.path())) names_.push_back(entry.path().filename().string());
    std::sort(names_.begin(), names_.end());
    for (std::size_t label = 0; label < names_.size(); ++label) {
      const auto first = static_cast<std::ptrdiff_t>(items_.size());
      for (const auto& entry : fs::directory_iterator(folder_ / names_[label]))
        if (is_image(entry.path()) && entry.is_regular_file())
          items_.push_back({entry.path().filename().string(), static_cast<std::int32_t>(label)});
      std::sort(items_.begin() + first, items_.end(), [](const Item& a, const Item& b) { return a.file < b.file; });
    }
  }

  std::filesystem::path folder_;
  ImageFolderOptions options_;
  std::vector<std::string> names_;
  std::vector<Item> items_;
};

}  // namespace sra
