// Makes small safetensors files by hand, good and bad ones, for the tests of their reader.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/io/safetensors.hpp>

#include <cstdint>
#include <span>
#include <string>

namespace sra::test {

/// The bytes of a file with this header and these data.
inline std::string safetensors_file(const std::string& header, const std::string& data) {
  std::string file;
  for (int i = 0; i < 8; ++i)
    file += static_cast<char>(static_cast<unsigned char>(std::uint64_t{header.size()} >> 8 * i));
  return file + header + data;
}

/// `file` must outlive the reader.
inline SafeTensors parse_safetensors(const std::string& file) {
  return SafeTensors(std::as_bytes(std::span(file.data(), file.size())), "f");
}

}  // namespace sra::test
