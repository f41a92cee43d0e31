// Text for pages: escaping, numbers as people read them, bytes within a page.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/estimate.hpp>
#include <sra/io/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

namespace sra::report {

/// Text that a page shows as it is, between tags and in quoted attributes.  What is not UTF-8, and control characters but tabs and
/// ends of lines, become U+FFFD; beyond `most` bytes it is cut.
inline std::string escaped(std::string_view s, std::size_t most = 4000) {
  std::string out;
  const bool cut = s.size() > most;
  while (!s.empty() && out.size() < most) {
    const std::size_t n = utf8_length(s);
    const char c = s[0];
    const bool control = n == 1 && static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t';
    if (n == 0 || control || c == '\x7f')
      out += "\xef\xbf\xbd";
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += s.substr(0, n);
    s.remove_prefix(n == 0 ? 1 : n);
  }
  return cut ? out + "…" : out;
}

/// x with so many digits behind the point, a true minus sign, and "–" for what is not finite.
inline std::string fixed(double x, int digits) {
  if (!std::isfinite(x)) return "–";
  char s[400];
  std::snprintf(s, sizeof s, "%.*f", std::clamp(digits, 0, 12), std::abs(x));
  const bool zero = std::string_view(s).find_first_of("123456789") == std::string_view::npos;
  return std::signbit(x) && !zero ? std::string("−") + s : std::string(s);
}
/// The same with a plus sign.
inline std::string signed_fixed(double x, int digits) {
  const std::string s = fixed(x, digits);
  return std::isfinite(x) && x > 0 && !s.starts_with("−") ? "+" + s : s;
}

/// How many digits behind the point show so many significant ones.
inline int digits_for(double x, int significant) {
  if (!std::isfinite(x) || x == 0) return significant - 1;
  return std::max(0, significant - 1 - static_cast<int>(std::floor(std::log10(std::abs(x)))));
}
/// x with so many significant digits.
inline std::string rounded(double x, int significant = 3) { return fixed(x, digits_for(x, significant)); }

/// "0.2134 ± 0.0012": two digits of the error.
inline std::string with_error(double mean, double error, bool sign = false) {
  const int digits = error > 0 && std::isfinite(error) ? std::min(digits_for(error, 2), 6) : digits_for(mean, 4);
  const std::string shown = sign ? signed_fixed(mean, digits) : fixed(mean, digits);
  return error > 0 ? shown + " ± " + fixed(error, digits) : shown;
}

/// "12 000" with narrow spaces.
inline std::string grouped(index_t n) {
  std::string s = std::to_string(n);
  for (std::size_t i = s.size(); i > 3 + (n < 0); i -= 3) s.insert(i - 3, "\u202f");
  return s;
}

/// A time as "3.2 ms".
inline std::string seconds_text(double s) {
  if (s >= 1) return rounded(s) + " s";
  return s >= 1e-3 ? rounded(1e3 * s) + " ms" : rounded(1e6 * s) + " µs";
}
/// A size as "1.2 GiB".
inline std::string bytes_text(double bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  std::size_t unit = 0;
  for (; unit < 4 && bytes >= 1024; ++unit) bytes /= 1024;
  return rounded(bytes) + " " + units[unit];
}

/// Bytes in base64.   RFC 4648
inline std::string base64(std::string_view bytes) {
  constexpr char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k)
      three = three << 8 | (i + k < bytes.size() ? static_cast<std::uint8_t>(bytes[i + k]) : 0u);
    const std::size_t used = std::min<std::size_t>(3, bytes.size() - i) + 1;
    for (std::size_t k = 0; k < 4; ++k) out += k < used ? digits[three >> (18 - 6 * k) & 63u] : '=';
  }
  return out;
}

}  // namespace sra::report
