// The one exception type: a sentence that says who, what, expected, got, where.
// SPDX-License-Identifier: MIT
#pragma once

#include <sstream>
#include <stdexcept>
#include <string>

namespace sra {

/// Everything the library throws.  The message is one sentence: "who: what, expected …, got …".
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Thrown when a frozen arena, pool or tape would have to grow: the steady state never allocates.
class FrozenError : public Error {
 public:
  using Error::Error;
};

/// Writes its arguments one after the other into a string; for messages only.
template <class... Args>
std::string text(const Args&... args) {
  std::ostringstream out;
  (out << ... << args);
  return out.str();
}

}  // namespace sra
