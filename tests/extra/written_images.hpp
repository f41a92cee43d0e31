// Image files for tests: written by libjpeg and libpng into a folder that is gone at the end of the test.
// SPDX-License-Identifier: MIT
#pragma once

#include "../temporary_folder.hpp"

#include <sra/core/error.hpp>
#include <sra/core/philox.hpp>

#include <boost/test/unit_test.hpp>
#include <jpeglib.h>
#include <png.h>

#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <string>
#include <vector>

namespace written {

namespace fs = std::filesystem;
using sra::index_t;
using Bytes = std::vector<std::uint8_t>;

struct Folder : sra::test::TemporaryFolder {
  void write(const fs::path& name, const Bytes& bytes) const {
    fs::create_directories((path() / name).parent_path());
    std::ofstream(path() / name, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
  }
};

inline Bytes noise(std::size_t n, std::uint64_t seed = 1) {
  const sra::Rng rng(seed, sra::Purpose::user, 0, 0);
  Bytes bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::uint8_t>(rng.bits(i));
  return bytes;
}

inline Bytes filled(std::size_t pixels, std::initializer_list<std::uint8_t> colour) {
  Bytes bytes;
  for (std::size_t i = 0; i < pixels; ++i) bytes.insert(bytes.end(), colour);
  return bytes;
}

// @param scans whether to write every coefficient twice in a scan of its own, 379 in all
inline Bytes jpeg(const Bytes& pixels, unsigned width, unsigned height, J_COLOR_SPACE space, bool scans = false) {
  jpeg_compress_struct info{};
  jpeg_error_mgr errors{};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* out = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &out, &size);
  info.image_width = width;
  info.image_height = height;
  info.input_components = space == JCS_GRAYSCALE ? 1 : space == JCS_RGB ? 3 : 4;
  info.in_color_space = space;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 100, TRUE);
  std::vector<jpeg_scan_info> script = {{3, {0, 1, 2, 0}, 0, 0, 0, 0}};
  for (int bit = 1; bit >= 0; --bit)
    for (int c = 0; c < 3; ++c)
      for (int k = 1; k < 64; ++k) script.push_back({1, {c, 0, 0, 0}, k, k, 1 - bit, bit});
  if (scans) {
    info.scan_info = script.data();
    info.num_scans = static_cast<int>(script.size());
  }
  jpeg_start_compress(&info, TRUE);
  while (info.next_scanline < height) {
    auto* row = const_cast<unsigned char*>(pixels.data()) +
                std::size_t{info.next_scanline} * width * static_cast<unsigned>(info.input_components);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  Bytes bytes(out, out + size);
  jpeg_destroy_compress(&info);
  std::free(out);
  return bytes;
}

struct PngKind {
  int depth = 8;
  int type = PNG_COLOR_TYPE_RGB;
  int interlace = PNG_INTERLACE_NONE;
  std::vector<png_color> palette{};
};

inline Bytes png(const Bytes& rows, unsigned width, unsigned height, PngKind kind = {}) {
  png_structp writer = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(writer);
  Bytes bytes;
  const auto append = [](png_structp p, png_bytep data, std::size_t n) {
    auto* to = static_cast<Bytes*>(png_get_io_ptr(p));
    to->insert(to->end(), data, data + n);
  };
  png_set_write_fn(writer, &bytes, append, nullptr);
  png_set_IHDR(writer, info, width, height, kind.depth, kind.type, kind.interlace, 0, 0);
  if (!kind.palette.empty()) png_set_PLTE(writer, info, kind.palette.data(), static_cast<int>(kind.palette.size()));
  png_write_info(writer, info);
  std::vector<png_bytep> pointers;
  for (unsigned y = 0; y < height; ++y)
    pointers.push_back(const_cast<png_bytep>(rows.data()) + rows.size() / height * y);
  png_write_image(writer, pointers.data());
  png_write_end(writer, info);
  png_destroy_write_struct(&writer, &info);
  return bytes;
}

template <class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const sra::Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

}  // namespace written
