// The clock that measures how long something takes.
// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>

namespace sra {

/// Seconds since some fixed point.
inline double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace sra
