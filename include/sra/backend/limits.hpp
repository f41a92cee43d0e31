// What a machine does at best, and how long a kernel must take there.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/launch.hpp>

#include <algorithm>

namespace sra {

/// What a machine does at best; 0 stands for not known.  A backend may offer measured_limits(backend, std::type_identity<T>),
/// found by argument-dependent lookup, which measures them for products whose operands are of type T.
struct Limits {
  double bytes_per_second = 0;  ///< of a copy too large for caches, read and written
  double flops_per_second = 0;  ///< of multiply-adds in the instructions that products use

  /// The least seconds of a kernel: the longer of moving its bytes and computing its FLOPs; 0 if nothing of it is known.
  double seconds(const Cost& cost) const {
    const double moving = bytes_per_second > 0 ? cost.bytes / bytes_per_second : 0;
    const double computing = flops_per_second > 0 ? cost.flops / flops_per_second : 0;
    return std::max(moving, computing);
  }
};

/// The better of two measurements: other programs on the machine only lower them.
inline Limits best(const Limits& a, const Limits& b) {
  return {std::max(a.bytes_per_second, b.bytes_per_second), std::max(a.flops_per_second, b.flops_per_second)};
}

}  // namespace sra
