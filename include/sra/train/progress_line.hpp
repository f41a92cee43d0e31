// What a run tells a person: one line that renews itself on a terminal, plain lines elsewhere.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/clock.hpp>
#include <sra/core/config.hpp>

#include <unistd.h>

#include <cstdio>
#include <string>

namespace sra {

/// "1:02:03".
inline std::string clock_text(double seconds) {
  const auto s = static_cast<long long>(seconds < 0 ? 0 : seconds);
  char buffer[32];
  if (s >= 3600)
    std::snprintf(buffer, sizeof buffer, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
  else
    std::snprintf(buffer, sizeof buffer, "%lld:%02lld", s / 60, s % 60);
  return buffer;
}

/// Writes progress to standard error.
class ProgressLine {
 public:
  /// @param line without its end; replaces the line before on a terminal
  void show(const std::string& line) {
    if (terminal_)
      std::fprintf(stderr, "\r%s\033[K", line.c_str());
    else
      std::fprintf(stderr, "%s\n", line.c_str());
    std::fflush(stderr);
    open_ = terminal_;
  }
  /// Ends a line that would be renewed.
  void finish() {
    if (open_) std::fprintf(stderr, "\n");
    open_ = false;
  }

 private:
  bool terminal_ = ::isatty(2) == 1;
  bool open_ = false;
};

}  // namespace sra
