// Runs on the emulated GPU whose streams put off their work, with steps captured or not.
// SPDX-License-Identifier: MIT
#pragma once

#include "cuda_runs.hpp"

#include <sra/cuda/around.cuh>

#include <string>

namespace sra::test {

using arch::emulated::counts;

/// Streams put off their work for the time of a scope.
struct Late {
  Late() { arch::emulated::puts_off() = true; }
  Late(const Late&) = delete;
  Late& operator=(const Late&) = delete;
  ~Late() {
    arch::emulated::run_everything();
    arch::emulated::puts_off() = false;
  }
};

template <class T>
typename Run<Cuda, T>::Options with_graphs(bool on, const std::string& run = "") {
  auto o = options<Cuda, T>(run);
  o.backend.graphs = on;
  return o;
}

}  // namespace sra::test
