// Reads JPEG and PNG files into memory; nothing in them is trusted.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>

#include <jpeglib.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <span>
#include <vector>

namespace sra {

/// A picture of 8 bits a channel: rgb is [height, width, 3].
struct Picture {
  index_t height = 0;
  index_t width = 0;
  std::vector<std::uint8_t> rgb;
};

namespace detail {

inline constexpr index_t largest_side = 16384;
inline constexpr index_t most_pixels = index_t{1} << 26;  // 201 MB as RGB
inline constexpr std::streamoff most_bytes = std::streamoff{1} << 28;
inline constexpr int most_scans = 200;  // of a progressive JPEG: a small file of many scans would take minutes

inline void check_extents(index_t height, index_t width) {
  if (height < 1 || width < 1 || height > largest_side || width > largest_side || height * width > most_pixels)
    throw Error(text("an image of ", width, " x ", height, " pixels, beyond ", largest_side, " a side or ", most_pixels,
                     " in all"));
}

/// libjpeg reports errors by a callback that must not return.  Between setjmp and longjmp there is nothing with a
/// destructor: memory is allocated between `begin` and `finish`, both of which return false with a message.
class Jpeg {
 public:
  explicit Jpeg(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  ~Jpeg() { jpeg_destroy_decompress(&info_); }
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;

  /// Reads the header.
  bool begin() {
    info_.err = jpeg_std_error(&errors_);
    info_.client_data = this;
    errors_.error_exit = fail;
    errors_.emit_message = [](j_common_ptr info, int level) {
      if (level < 0) fail(info);  // a warning: the data is damaged, and what comes out would be made up
    };
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&info_);
    jpeg_mem_src(&info_, bytes_.data(), static_cast<unsigned long>(bytes_.size()));
    jpeg_read_header(&info_, TRUE);
    return true;
  }

  /// Reads the pixels.  @param rgb [height, width, 3]
  bool finish(std::uint8_t* rgb) {
    if (setjmp(jump_) != 0) return false;
    info_.out_color_space = JCS_RGB;
    progress_.progress_monitor = [](j_common_ptr info) {
      if (reinterpret_cast<j_decompress_ptr>(info)->input_scan_number <= most_scans) return;
      std::snprintf(self(info).message_, sizeof message_, "more than %d scans", most_scans);
      std::longjmp(self(info).jump_, 1);
    };
    info_.progress = &progress_;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      JSAMPROW row = rgb + std::size_t{3} * info_.output_width * info_.output_scanline;
      jpeg_read_scanlines(&info_, &row, 1);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  index_t height() const { return info_.image_height; }
  index_t width() const { return info_.image_width; }
  bool four_inks() const { return info_.jpeg_color_space == JCS_CMYK || info_.jpeg_color_space == JCS_YCCK; }
  const char* message() const { return message_; }

 private:
  static Jpeg& self(j_common_ptr info) { return *static_cast<Jpeg*>(info->client_data); }
  static void fail(j_common_ptr info) {
    info->err->format_message(info, self(info).message_);
    std::longjmp(self(info).jump_, 1);
  }

  std::span<const std::uint8_t> bytes_;
  jpeg_decompress_struct info_{};
  jpeg_error_mgr errors_{};
  jpeg_progress_mgr progress_{};
  std::jmp_buf jump_{};
  char message_[JMSG_LENGTH_MAX] = "";
};

inline Picture decode_jpeg(std::span<const std::uint8_t> bytes) {
  Jpeg jpeg(bytes);
  if (!jpeg.begin()) throw Error(text("a JPEG with an error: ", jpeg.message()));
  check_extents(jpeg.height(), jpeg.width());
  if (jpeg.four_inks()) throw Error("a JPEG of CMYK colours, where gray or RGB is needed");
  Picture picture{jpeg.height(), jpeg.width(), {}};
  picture.rgb.resize(static_cast<std::size_t>(picture.height * picture.width * 3));
  if (!jpeg.finish(picture.rgb.data())) throw Error(text("a JPEG with an error: ", jpeg.message()));
  return picture;
}

inline Picture decode_png(std::span<const std::uint8_t> bytes) {
  struct Png {
    png_image image{};
    ~Png() { png_image_free(&image); }
  } png;
  png.image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_memory(&png.image, bytes.data(), bytes.size()))
    throw Error(text("a PNG with an error: ", png.image.message));
  check_extents(png.image.height, png.image.width);
  png.image.format = PNG_FORMAT_RGBA;
  png.image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
  Picture picture{png.image.height, png.image.width, {}};
  std::vector<std::uint8_t> rgba(PNG_IMAGE_SIZE(png.image));
  if (!png_image_finish_read(&png.image, nullptr, rgba.data(), 0, nullptr))
    throw Error(text("a PNG with an error: ", png.image.message));
  picture.rgb.reserve(rgba.size() / 4 * 3);
  for (std::size_t i = 0; i < rgba.size(); i += 4)
    for (std::size_t c = 0; c < 3; ++c)
      picture.rgb.push_back(static_cast<std::uint8_t>((rgba[i + c] * rgba[i + 3] + 127) / 255));
  return picture;
}

}  // namespace detail

/// Decodes a JPEG (gray or RGB) or a PNG (any kind), told apart by their first bytes.  Gray becomes RGB, transparent
/// pixels are laid on black, 16 bits are rounded to 8; the orientation that a camera noted is ignored.  At most 16384
/// pixels a side, 2^26 in all.  Callable from several threads.  @throws Error that says what was found instead
inline Picture decode_image(std::span<const std::uint8_t> bytes) {
  const auto starts_with = [&](std::initializer_list<std::uint8_t> magic) {
    return bytes.size() >= magic.size() && std::equal(magic.begin(), magic.end(), bytes.begin());
  };
  if (bytes.empty()) throw Error("an empty file");
  if (starts_with({0xff, 0xd8, 0xff})) return detail::decode_jpeg(bytes);
  if (starts_with({0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'})) return detail::decode_png(bytes);
  throw Error("a file that is neither JPEG nor PNG");
}

/// Decodes a file of at most 256 MiB.  @throws Error that says what was found instead of an image
inline Picture read_image(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  const std::streamoff size = file ? static_cast<std::streamoff>(file.tellg()) : -1;
  if (size < 0) throw Error("a file that cannot be opened");
  if (size > detail::most_bytes) throw Error(text("a file of ", size, " bytes, beyond ", detail::most_bytes));
  std::vector<std::uint8_t> bytes(static_cast<std::size_t>(size));
  file.seekg(0);
  if (!file.read(reinterpret_cast<char*>(bytes.data()), size)) throw Error("a file that cannot be read");
  return decode_image(bytes);
}

}  // namespace sra
