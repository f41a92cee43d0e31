// Decodes PNG files with libpng, for the tests of our writer.
// SPDX-License-Identifier: MIT
#pragma once

#include <png.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace sra::test {

struct Picture {
  std::size_t height = 0, width = 0, channels = 0;
  std::vector<std::uint8_t> pixels;
  std::map<std::string, std::string> texts;
};

/// Every warning of libpng is an error here.
inline Picture read_png(const std::filesystem::path& path) {
  const auto fail = [](png_structp, png_const_charp message) { throw std::runtime_error(message); };
  png_structp png = png_create_read_struct(PNG_LIBPNG_VER_STRING, nullptr, fail, fail);
  png_infop info = png_create_info_struct(png);
  std::FILE* file = std::fopen(path.c_str(), "rb");
  if (!file) throw std::runtime_error("read_png: cannot open " + path.string());
  png_set_crc_action(png, PNG_CRC_ERROR_QUIT, PNG_CRC_ERROR_QUIT);
  png_init_io(png, file);
  png_read_png(png, info, PNG_TRANSFORM_IDENTITY, nullptr);
  Picture picture{png_get_image_height(png, info), png_get_image_width(png, info), png_get_channels(png, info), {}, {}};
  if (png_get_bit_depth(png, info) != 8) throw std::runtime_error("read_png: expected 8 bits");
  for (std::size_t y = 0; y < picture.height; ++y) {
    const png_bytep row = png_get_rows(png, info)[y];
    picture.pixels.insert(picture.pixels.end(), row, row + picture.width * picture.channels);
  }
  png_textp texts = nullptr;
  const int count = png_get_text(png, info, &texts, nullptr);
  for (int i = 0; i < count; ++i) picture.texts[texts[i].key] = texts[i].text;
  png_destroy_read_struct(&png, &info, nullptr);
  std::fclose(file);
  return picture;
}

}  // namespace sra::test
