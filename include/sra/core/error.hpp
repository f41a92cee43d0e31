// The one exception type: a sentence that says who, what, expected, got, where.
// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <initializer_list>
#include <locale>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

namespace sra {

/// Everything the library throws.  The message is one sentence: "who: what, expected …, got …".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Thrown by a backend that has less memory than was asked for.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

/// Thrown when a frozen arena, pool or tape would have to grow: the steady state never allocates.
class FrozenError : public Error {
 public:
  using Error::Error;
};

namespace detail {

/// A value and how it is written.
struct Piece {
  const void* value;
  void (*write)(std::ostream& out, const void* value);
};

template <class T>
void write_piece(std::ostream& out, const void* value) {
  if constexpr (std::is_floating_point_v<T>) {
    char digits[32];
    out.write(digits, std::to_chars(digits, digits + sizeof digits, *static_cast<const T*>(value)).ptr - digits);
  } else {
    out << *static_cast<const T*>(value);
  }
}

[[gnu::cold]] inline std::string join(std::initializer_list<Piece> pieces) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  for (const Piece& piece : pieces) piece.write(out, piece.value);
  return out.str();
}

/// Strings of every kind become one type, so that messages add little to a program.
template <class T>
decltype(auto) piece_value(const T& value) {
  if constexpr (std::is_convertible_v<const T&, std::string_view>)
    return std::string_view(value);
  else
    return (value);
}

template <class... Values>
std::string join_values(const Values&... values) {
  return join({Piece{&values, &write_piece<Values>}...});
}

}  // namespace detail

/// Writes its arguments one after the other into a string, whatever the locale; floating-point numbers with the fewest digits
/// that read back as the same number.
template <class... Args>
std::string text(const Args&... args) {
  return detail::join_values(detail::piece_value(args)...);
}

}  // namespace sra
