// The arch header of this name on the host: algorithms of Thrust run in its cpp system, one element after the other.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/runtime.cuh>

#include <thrust/system/cpp/execution_policy.h>

namespace sra::arch {

template <class Allocator>
auto thrust_policy(Stream s, Allocator& memory) {
  wait(s);
  return thrust::cpp::par(memory);
}

}  // namespace sra::arch
