// Shows a batch of images as one PNG.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/io/png.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace sra {

/// The byte that shows x: clamp(255 (x + 1) / 2, 0, 255), truncated, not rounded, as in the reference's sampler.
/// @param x -1 is black, 1 is white; NaN gives 0
inline std::uint8_t pixel_value(float x) {
  const float value = 255.0f * ((x + 1.0f) / 2.0f);
  if (!(value > 0.0f)) return 0;
  return value < 255.0f ? static_cast<std::uint8_t>(value) : std::uint8_t{255};
}

namespace detail {

/// One pixel of an image as grey or RGB: a NaN in any channel that is shown makes it magenta, or black in grey.
inline std::array<std::uint8_t, 3> shown_pixel(const float* channels, index_t count) {
  std::array<std::uint8_t, 3> shown{};
  for (index_t i = 0; i < count; ++i) {
    if (count == 3 && std::isnan(channels[i])) return {255, 0, 255};
    shown[static_cast<std::size_t>(i)] = pixel_value(channels[i]);
  }
  return shown;
}

/// Length of `count` cells of `cell` pixels with gaps between them; at most 2^30, so that areas do not overflow.
inline index_t grid_length(const std::string& who, index_t count, index_t cell, index_t gap) {
  index_t length = 0, gaps = 0;
  const bool overflow = __builtin_mul_overflow(count, cell, &length) || __builtin_mul_overflow(count - 1, gap, &gaps) ||
                        __builtin_add_overflow(length, gaps, &length);
  if (overflow || length > index_t{1} << 30) {
    throw Error(text(who, ": the grid is too large for a PNG: ", count, " cells of ", cell, " pixels"));
  }
  return length;
}

}  // namespace detail

/// Writes images as a grid, row by row; gaps and unused cells are white.  Each value is shown as by pixel_value().
/// @param images [count, height, width, channels] in [-1, 1]; of 3 or more channels the first three are shown as RGB,
/// of fewer the first as grey  @param columns images per row  @param scale each pixel becomes scale x scale
/// @param gap pixels between images, not scaled  @throws Error for sizes that do not fit together
inline void write_grid(const std::filesystem::path& path, std::span<const float> images, index_t count, index_t height,
                       index_t width, index_t channels, index_t columns, int scale = 1, int gap = 2) {
  const std::string who = "write_grid: " + path.string();
  const auto got = static_cast<index_t>(images.size());
  const std::string sizes = text(count, "x", height, "x", width, "x", channels);
  if (count < 1 || height < 1 || width < 1 || channels < 1)
    throw Error(text(who, ": expected positive sizes, got ", sizes));
  if (columns < 1 || scale < 1 || gap < 0) {
    throw Error(text(who, ": expected columns >= 1, scale >= 1, gap >= 0, got ", columns, ", ", scale, ", ", gap));
  }
  index_t expected = 0;
  const bool overflow = __builtin_mul_overflow(count, height, &expected) ||
                        __builtin_mul_overflow(expected, width, &expected) ||
                        __builtin_mul_overflow(expected, channels, &expected);
  if (overflow || expected != got) throw Error(text(who, ": expected ", sizes, " values, got ", got));

  columns = std::min(columns, count);
  const index_t rows = (count - 1) / columns + 1;
  const index_t shown = channels >= 3 ? 3 : 1;
  const index_t grid_width = detail::grid_length(who, columns, width * scale, gap);
  const index_t grid_height = detail::grid_length(who, rows, height * scale, gap);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(grid_width * grid_height * shown), 255);
  for (index_t i = 0; i < count; ++i) {
    const index_t top = i / columns * (height * scale + gap), left = i % columns * (width * scale + gap);
    for (index_t y = 0; y < height * scale; ++y) {
      for (index_t x = 0; x < width * scale; ++x) {
        const index_t source = ((i * height + y / scale) * width + x / scale) * channels;
        const auto pixel = detail::shown_pixel(images.data() + source, shown);
        std::uint8_t* to = pixels.data() + ((top + y) * grid_width + left + x) * shown;
        std::copy_n(pixel.begin(), shown, to);
      }
    }
  }
  write_png(path, pixels.data(), grid_height, grid_width, shown);
}

}  // namespace sra
