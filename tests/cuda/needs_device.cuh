// Ends a program that needs a device where there is none, as skipped, before any of its tests.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/runtime.cuh>

#include <cstdio>
#include <cstdlib>

namespace sra::test {

inline const bool has_device = [] {
  if (arch::device_count() > 0) return true;
  std::puts("skipped: no device");
  std::exit(77);
}();

}  // namespace sra::test
