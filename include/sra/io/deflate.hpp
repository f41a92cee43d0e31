// Compression into the zlib format: LZ77 with fixed Huffman codes, for PNG.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

namespace sra {

/// Adler-32 checksum.   RFC 1950, section 8.2
inline std::uint32_t adler32(std::span<const std::uint8_t> bytes) {
  std::uint32_t a = 1, b = 0;
  for (const std::uint8_t byte : bytes) {
    a = (a + byte) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

namespace detail {

/// Bits from the lowest of each byte upwards, as deflate wants them.
class BitWriter {
 public:
  explicit BitWriter(std::vector<std::uint8_t>& out) : out_(out) {}

  /// The lowest `count` <= 16 bits of a number, lowest first.
  void number(std::uint32_t bits, int count) {
    pending_ |= bits << used_;
    for (used_ += count; used_ >= 8; used_ -= 8, pending_ >>= 8) out_.push_back(static_cast<std::uint8_t>(pending_));
  }
  /// A Huffman code, highest bit first.
  void code(std::uint32_t bits, int count) {
    for (int i = count - 1; i >= 0; --i) number(bits >> i & 1u, 1);
  }
  /// Fills the last byte with zeros.
  void finish() {
    if (used_ > 0) number(0, 8 - used_);
  }

 private:
  std::vector<std::uint8_t>& out_;
  std::uint32_t pending_ = 0;
  int used_ = 0;
};

/// A literal, the end (256) or a length code, in the fixed Huffman code.   RFC 1951, section 3.2.6
inline void fixed_symbol(BitWriter& bits, std::uint32_t symbol) {
  if (symbol < 144) return bits.code(0x30 + symbol, 8);
  if (symbol < 256) return bits.code(0x190 + symbol - 144, 9);
  if (symbol < 280) return bits.code(symbol - 256, 7);
  bits.code(0xc0 + symbol - 280, 8);
}

/// "Repeat `length` bytes from `distance` bytes ago".   RFC 1951, section 3.2.5
inline void repetition(BitWriter& bits, std::uint32_t length, std::uint32_t distance) {
  constexpr std::uint32_t lengths[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                       31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
  constexpr std::uint32_t distances[] = {1,    2,    3,    4,    5,    7,    9,    13,    17,    25,
                                         33,   49,   65,   97,   129,  193,  257,  385,   513,   769,
                                         1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
  std::uint32_t i = 28, j = 29;
  while (lengths[i] > length) --i;
  while (distances[j] > distance) --j;
  fixed_symbol(bits, 257 + i);
  bits.number(length - lengths[i], i < 8 || i == 28 ? 0 : static_cast<int>(i / 4) - 1);
  bits.code(j, 5);
  bits.number(distance - distances[j], j < 4 ? 0 : static_cast<int>(j / 2) - 1);
}

/// Where three bytes were seen before, within the last 32768.
class Matches {
 public:
  struct Match {
    std::size_t length = 0, distance = 0;
  };

  explicit Matches(std::span<const std::uint8_t> bytes) : bytes_(bytes), head_(window, 0), previous_(window, 0) {}

  /// Remembers position `at`.
  void insert(std::size_t at) {
    if (at + 3 > bytes_.size()) return;
    std::size_t& head = head_[hash(at)];
    previous_[at % window] = std::exchange(head, at + 1);
  }

  /// The longest of the last 32 candidates; length < 3 if there is none.
  Match longest(std::size_t at) const {
    Match best;
    if (at + 3 > bytes_.size()) return best;
    const std::size_t limit = std::min<std::size_t>(258, bytes_.size() - at);
    std::size_t candidate = head_[hash(at)];
    for (int tries = 0; tries < 32 && candidate != 0 && at - (candidate - 1) <= window; ++tries) {
      const std::size_t from = candidate - 1;
      std::size_t n = 0;
      while (n < limit && bytes_[from + n] == bytes_[at + n]) ++n;
      if (n > best.length) best = {n, at - from};
      const std::size_t next = previous_[from % window];
      if (n == limit || next >= candidate) break;  // a younger entry has taken the place
      candidate = next;
    }
    return best;
  }

 private:
  static constexpr std::size_t window = 32768;
  std::size_t hash(std::size_t at) const {
    const std::uint32_t three = bytes_[at] | std::uint32_t{bytes_[at + 1]} << 8 | std::uint32_t{bytes_[at + 2]} << 16;
    return three * 2654435761u >> 17;
  }

  std::span<const std::uint8_t> bytes_;
  std::vector<std::size_t> head_, previous_;  // position + 1; 0 is none
};

}  // namespace detail

/// Compresses `bytes` into a zlib stream.   RFC 1950, RFC 1951
inline std::vector<std::uint8_t> zlib_compress(std::span<const std::uint8_t> bytes) {
  std::vector<std::uint8_t> out = {0x78, 0x01};  // deflate, window of 32768 bytes, fastest
  detail::BitWriter bits(out);
  bits.number(1, 1);  // the last block
  bits.number(1, 2);  // with fixed codes
  detail::Matches matches(bytes);
  for (std::size_t at = 0; at < bytes.size();) {
    const auto match = matches.longest(at);
    const bool repeats = match.length >= 3;
    if (repeats) {
      detail::repetition(bits, static_cast<std::uint32_t>(match.length), static_cast<std::uint32_t>(match.distance));
    } else {
      detail::fixed_symbol(bits, bytes[at]);
    }
    for (const std::size_t end = at + (repeats ? match.length : 1); at < end; ++at) matches.insert(at);
  }
  detail::fixed_symbol(bits, 256);
  bits.finish();
  const std::uint32_t sum = adler32(bytes);
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(sum >> shift));
  return out;
}

}  // namespace sra
