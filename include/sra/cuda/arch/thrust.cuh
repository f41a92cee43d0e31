// Where the algorithms of Thrust run: in a stream of the CUDA runtime.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/runtime.cuh>

#include <thrust/system/cuda/execution_policy.h>

namespace sra::arch {

/// The policy of algorithms that run in stream s, are done when they return, and take temporary memory from `memory`.
template <class Allocator>
auto thrust_policy(Stream s, Allocator& memory) {
  return thrust::cuda::par(memory).on(s);
}

}  // namespace sra::arch
