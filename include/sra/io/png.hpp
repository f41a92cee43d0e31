// Writes images as PNG, 8 bits per channel, grey or RGB.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/io/deflate.hpp>
#include <sra/io/file.hpp>
#include <sra/io/json.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace sra {

namespace detail {

inline constexpr auto crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1u ? 0xedb88320u ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  return table;
}();

inline std::string big_endian(std::uint32_t value) {
  std::string s;
  for (int shift = 24; shift >= 0; shift -= 8) s += static_cast<char>(static_cast<std::uint8_t>(value >> shift));
  return s;
}

}  // namespace detail

/// CRC-32 of PNG and zip.   PNG specification, annex D
inline std::uint32_t crc32(std::string_view bytes) {
  std::uint32_t c = 0xffffffffu;
  for (const char byte : bytes) c = detail::crc_table[(c ^ static_cast<std::uint8_t>(byte)) & 0xffu] ^ c >> 8;
  return ~c;
}

namespace detail {

/// Length, type, data, checksum.
inline void png_chunk(FileWriter& out, std::string_view type, std::string_view data) {
  std::string chunk(type);
  chunk += data;
  out.write(big_endian(static_cast<std::uint32_t>(data.size())));
  out.write(chunk);
  out.write(big_endian(crc32(chunk)));
}

/// The rows, each behind the number of its filter: 0 none, 1 minus the left pixel, 2 minus the pixel above; that with
/// the smallest sum of |signed byte|, the usual guess at what compresses best.   PNG specification, section 9
inline std::vector<std::uint8_t> png_rows(const std::uint8_t* pixels, std::size_t height, std::size_t row,
                                          std::size_t step) {
  std::vector<std::uint8_t> out, filtered[3];
  out.reserve(height * (row + 1));
  for (auto& candidate : filtered) candidate.resize(row);
  for (std::size_t y = 0; y < height; ++y) {
    const std::uint8_t* line = pixels + y * row;
    std::size_t cost[3] = {};
    for (std::size_t x = 0; x < row; ++x) {
      const std::uint8_t reference[3] = {0, x < step ? std::uint8_t{0} : line[x - step],
                                         y == 0 ? std::uint8_t{0} : (line - row)[x]};
      for (int i = 0; i < 3; ++i) {
        const auto difference = static_cast<std::uint8_t>(line[x] - reference[i]);
        filtered[i][x] = difference;
        cost[i] += std::min<std::size_t>(difference, 256u - difference);
      }
    }
    const auto best = std::min_element(cost, cost + 3) - cost;
    out.push_back(static_cast<std::uint8_t>(best));
    out.insert(out.end(), filtered[best].begin(), filtered[best].end());
  }
  return out;
}

/// A text chunk: tEXt for ASCII, iTXt for other UTF-8.
inline void png_text(FileWriter& out, const std::string& who, const std::string& key, const std::string& value) {
  const bool printable = std::all_of(key.begin(), key.end(), [](char c) { return c >= ' ' && c <= '~'; });
  const bool spaced = key.starts_with(' ') || key.ends_with(' ') || key.find("  ") != std::string::npos;
  if (key.empty() || key.size() > 79 || !printable || spaced) {
    throw Error(
        text(who, ": text key ", json_string(key), ": expected 1 to 79 printable ASCII characters, singly spaced"));
  }
  if (!is_utf8(value) || value.find('\0') != std::string::npos || value.size() > 0x7fffff00) {
    throw Error(text(who, ": text of ", json_string(key), ": expected UTF-8 without zero bytes"));
  }
  const bool ascii =
      std::all_of(value.begin(), value.end(), [](char c) { return static_cast<unsigned char>(c) < 0x80; });
  const std::string zeros(ascii ? 1 : 5, '\0');  // iTXt: not compressed, no language, no translated key
  png_chunk(out, ascii ? "tEXt" : "iTXt", key + zeros + value);
}

}  // namespace detail

/// Writes a PNG; whole or not at all, equal calls write equal bytes.
/// @param pixels [height, width, channels]  @param channels 1 (grey) or 3 (RGB)  @param texts keys and values kept in
/// the file (tEXt; iTXt where not ASCII)  @throws Error for impossible sizes and texts, and if writing fails
inline void write_png(const std::filesystem::path& path, const std::uint8_t* pixels, index_t height, index_t width,
                      index_t channels, const std::map<std::string, std::string>& texts = {}) {
  const std::string who = "write_png: " + path.string();
  constexpr index_t limit = std::numeric_limits<std::int32_t>::max();
  index_t bytes = 0;
  const bool possible = height > 0 && width > 0 && height <= limit && width <= limit &&
                        (channels == 1 || channels == 3) &&
                        !__builtin_mul_overflow(height, width * channels + 1, &bytes);
  if (!possible) {
    throw Error(text(who, ": expected 1 to 2^31 - 1 rows and columns and 1 or 3 channels, got ", height, "x", width,
                     "x", channels));
  }
  const auto row = static_cast<std::size_t>(width * channels);
  const auto rows = detail::png_rows(pixels, static_cast<std::size_t>(height), row, static_cast<std::size_t>(channels));
  const std::vector<std::uint8_t> packed = zlib_compress(rows);
  const std::string_view data(reinterpret_cast<const char*>(packed.data()), packed.size());
  const std::string depth_and_colour = {8, static_cast<char>(channels == 1 ? 0 : 2), 0, 0, 0};
  atomic_write(path, [&](FileWriter& out) {
    out.write("\x89PNG\r\n\x1a\n");
    const std::string size =
        detail::big_endian(static_cast<std::uint32_t>(width)) + detail::big_endian(static_cast<std::uint32_t>(height));
    detail::png_chunk(out, "IHDR", size + depth_and_colour);
    for (const auto& [key, value] : texts) detail::png_text(out, who, key, value);
    constexpr std::size_t part = std::size_t{1} << 20;
    for (std::size_t at = 0; at < data.size(); at += part) detail::png_chunk(out, "IDAT", data.substr(at, part));
    detail::png_chunk(out, "IEND", "");
  });
}

}  // namespace sra
