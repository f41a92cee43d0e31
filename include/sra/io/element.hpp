// Element types of tensor files: their names and sizes, and the conversion of stored bytes to C++ numbers.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/error.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra {

static_assert(std::endian::native == std::endian::little, "tensor files: this machine must be little-endian");

/// Bytes per element of a dtype of safetensors ("F32", "BF16", "I64", …); 0 if there is no such dtype.
inline std::size_t dtype_size(std::string_view dtype) {
  constexpr std::pair<std::string_view, std::size_t> sizes[] = {
      {"F64", 8}, {"I64", 8}, {"U64", 8}, {"F32", 4}, {"I32", 4},  {"U32", 4},     {"F16", 2},    {"BF16", 2},
      {"I16", 2}, {"U16", 2}, {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (const auto& [name, size] : sizes) {
    if (name == dtype) return size;
  }
  return 0;
}

/// The dtype that stores T as it is.
template <class T>
constexpr std::string_view dtype_of() {
  if constexpr (std::is_same_v<T, double>) return "F64";
  if constexpr (std::is_same_v<T, float>) return "F32";
  if constexpr (std::is_same_v<T, bf16>) return "BF16";
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    constexpr std::string_view names[] = {"I8", "U8", "I16", "U16", "I32", "U32", "I64", "U64"};
    return names[2 * std::countr_zero(sizeof(T)) + std::is_unsigned_v<T>];
  } else {
    static_assert(std::is_same_v<T, double> || std::is_same_v<T, float> || std::is_same_v<T, bf16>,
                  "dtype_of: expected double, float, bf16 or an integer type");
  }
}

/// "[3, 4]"; "[]" is a scalar.
inline std::string shape_text(const std::vector<index_t>& shape) {
  std::string s = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) s += (i ? ", " : "") + std::to_string(shape[i]);
  return s + "]";
}

/// Bytes of a tensor of this shape, checked for overflow and negative extents.  @throws Error "who: …"
inline std::size_t checked_bytes(const std::string& who, std::size_t element_size, const std::vector<index_t>& shape) {
  std::size_t bytes = element_size;  // of the extents that are not 0: a 0 does not excuse the others
  bool empty = false;
  for (const index_t extent : shape) {
    if (extent < 0) throw Error(text(who, ": expected extents >= 0, got shape ", shape_text(shape)));
    empty = empty || extent == 0;
    const bool overflow = __builtin_mul_overflow(bytes, static_cast<std::size_t>(std::max(extent, index_t{1})), &bytes);
    if (overflow || bytes > static_cast<std::size_t>(std::numeric_limits<index_t>::max())) {
      throw Error(text(who, ": shape ", shape_text(shape), " overflows: it has more than 2^63 bytes"));
    }
  }
  return empty ? 0 : bytes;
}

/// Value of an IEEE half, given its bits.
inline float half_to_float(std::uint16_t bits) {
  const std::uint32_t sign = (bits & 0x8000u) << 16, exponent = bits >> 10 & 0x1fu, fraction = bits & 0x3ffu;
  if (exponent == 0) {
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign ? -magnitude : magnitude;
  }
  const std::uint32_t wide = exponent == 0x1f ? 0xffu : exponent + 112;
  return std::bit_cast<float>(sign | wide << 23 | fraction << 13);
}

namespace detail {

/// One number as another type; refuses what cannot be kept: fractions as integers, integers that do not fit.
template <class To, class From>
To convert_number(const std::string& who, From value) {
  if constexpr (std::is_same_v<To, From>) {
    return value;
  } else if constexpr (std::is_same_v<From, bf16>) {
    return convert_number<To>(who, static_cast<float>(value));
  } else if constexpr (std::is_same_v<To, bf16>) {
    return bf16(static_cast<float>(value));
  } else if constexpr (std::is_floating_point_v<To>) {
    return static_cast<To>(value);
  } else if constexpr (std::is_floating_point_v<From>) {
    throw Error(text(who, ": expected integers, file has floating-point numbers"));
  } else {
    if (!std::in_range<To>(value)) throw Error(text(who, ": value ", +value, " does not fit into ", dtype_of<To>()));
    return static_cast<To>(value);
  }
}

template <class To, class From>
std::vector<To> convert_all(const std::string& who, std::span<const std::byte> bytes) {
  std::vector<To> out(bytes.size() / sizeof(From));
  for (std::size_t i = 0; i < out.size(); ++i) {
    From value;
    std::memcpy(&value, bytes.data() + i * sizeof(From), sizeof(From));  // the file promises no alignment
    out[i] = convert_number<To>(who, value);
  }
  return out;
}

}  // namespace detail

/// The numbers in `bytes`, stored as `dtype`, as T: to a floating-point type by rounding to nearest; to an integer type
/// only from integers that fit.  @throws Error "who: …", also for F8, which has no meaning here
template <class T>
std::vector<T> convert_elements(const std::string& who, std::string_view dtype, std::span<const std::byte> bytes) {
  if (dtype == "F32") return detail::convert_all<T, float>(who, bytes);
  if (dtype == "F64") return detail::convert_all<T, double>(who, bytes);
  if (dtype == "BF16") return detail::convert_all<T, bf16>(who, bytes);
  if (dtype == "I64") return detail::convert_all<T, std::int64_t>(who, bytes);
  if (dtype == "I32") return detail::convert_all<T, std::int32_t>(who, bytes);
  if (dtype == "I16") return detail::convert_all<T, std::int16_t>(who, bytes);
  if (dtype == "I8") return detail::convert_all<T, std::int8_t>(who, bytes);
  if (dtype == "U64") return detail::convert_all<T, std::uint64_t>(who, bytes);
  if (dtype == "U32") return detail::convert_all<T, std::uint32_t>(who, bytes);
  if (dtype == "U16") return detail::convert_all<T, std::uint16_t>(who, bytes);
  if (dtype == "U8" || dtype == "BOOL") return detail::convert_all<T, std::uint8_t>(who, bytes);
  if (dtype != "F16") throw Error(text(who, ": cannot convert elements of dtype ", dtype));
  std::vector<T> out(bytes.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    std::uint16_t bits;
    std::memcpy(&bits, bytes.data() + 2 * i, 2);
    out[i] = detail::convert_number<T>(who, half_to_float(bits));
  }
  return out;
}

}  // namespace sra
