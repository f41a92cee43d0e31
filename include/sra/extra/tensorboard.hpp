// Event files that TensorBoard reads: scalars by name and step.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/io/file.hpp>

#include <array>
#include <bit>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace sra {

namespace detail {

/// Of the polynomial 0x1edc6f41, its bits reversed.
inline constexpr auto crc32c_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t c = i;
    for (int bit = 0; bit < 8; ++bit) c = c & 1u ? 0x82f63b78u ^ c >> 1 : c >> 1;
    table[i] = c;
  }
  return table;
}();

/// An unsigned number of so many bytes, the lowest first.
template <class Unsigned>
std::string little_endian(Unsigned value) {
  std::string s;
  for (std::size_t i = 0; i < sizeof value; ++i) s += static_cast<char>(static_cast<std::uint8_t>(value >> 8 * i));
  return s;
}

}  // namespace detail

/// CRC-32C (Castagnoli).   RFC 3720, appendix B.4
inline std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t c = 0xffffffffu;
  for (const char byte : bytes) c = detail::crc32c_table[(c ^ static_cast<std::uint8_t>(byte)) & 0xffu] ^ c >> 8;
  return ~c;
}

/// A message of protocol buffers, field by field.
class ProtobufMessage {
 public:
  ProtobufMessage& real(int field, double value) { return fixed(field, 1, std::bit_cast<std::uint64_t>(value)); }
  ProtobufMessage& real(int field, float value) { return fixed(field, 5, std::bit_cast<std::uint32_t>(value)); }
  /// @param value negative ones take ten bytes
  ProtobufMessage& integer(int field, std::int64_t value) {
    key(field, 0);
    varint(static_cast<std::uint64_t>(value));
    return *this;
  }
  /// A string, or another message.
  ProtobufMessage& bytes(int field, std::string_view value) {
    key(field, 2);
    varint(value.size());
    encoded_ += value;
    return *this;
  }
  const std::string& encoded() const { return encoded_; }

 private:
  template <class Unsigned>
  ProtobufMessage& fixed(int field, int wire_type, Unsigned bits) {
    key(field, wire_type);
    encoded_ += detail::little_endian(bits);
    return *this;
  }
  void key(int field, int wire_type) { varint(static_cast<std::uint64_t>(field << 3 | wire_type)); }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) encoded_ += static_cast<char>(static_cast<std::uint8_t>(value | 0x80));
    encoded_ += static_cast<char>(static_cast<std::uint8_t>(value));
  }

  std::string encoded_;
};

/// The contents of an event file: records of TFRecord, each an Event of tensorflow/core/util/event.proto.
class EventFile {
 public:
  /// @param wall_time seconds since 1970 at which the file begins
  explicit EventFile(double wall_time) { append(ProtobufMessage().real(1, wall_time).bytes(3, "brain.Event:2")); }

  /// A scalar under a tag like "loss/denoising".  TensorBoard keeps scalars as float.
  void scalar(std::string_view tag, index_t step, double wall_time, float value) {
    const ProtobufMessage summary_value = ProtobufMessage().bytes(1, tag).real(2, value);
    const ProtobufMessage summary = ProtobufMessage().bytes(1, summary_value.encoded());
    ProtobufMessage event = ProtobufMessage().real(1, wall_time);
    if (step != 0) event.integer(2, step);  // zero is what a reader takes a missing field for, and others leave it out
    append(event.bytes(5, summary.encoded()));
  }

  const std::string& contents() const { return contents_; }
  /// Writes the file, whole or not at all.  TensorBoard finds files whose names contain "tfevents".
  void write(const std::filesystem::path& path) const {
    atomic_write(path, [&](FileWriter& out) { out.write(contents_); });
  }

 private:
  /// Length, its checksum, the event, its checksum.
  void append(const ProtobufMessage& event) {
    const std::string length = detail::little_endian(std::uint64_t{event.encoded().size()});
    contents_ += length;
    contents_ += detail::little_endian(masked(crc32c(length)));
    contents_ += event.encoded();
    contents_ += detail::little_endian(masked(crc32c(event.encoded())));
  }
  /// Checksums are masked, so that one over bytes that hold checksums stays meaningful.
  static std::uint32_t masked(std::uint32_t crc) { return std::rotr(crc, 15) + 0xa282ead8u; }

  std::string contents_;
};

}  // namespace sra
