// What happens around a step and never in it, by Thrust, which may allocate and waits: initial values.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cuda/arch/thrust.cuh>
#include <sra/cuda/kernel.cuh>

#include <thrust/tabulate.h>

#include <cstddef>
#include <exception>

namespace sra::cuda {

namespace detail {

/// rule(i) as the type of what is written.
template <class W, class Rule>
struct RuleAs {
  Rule rule;
  SRA_FN W operator()(index_t i) const { return static_cast<W>(rule(i)); }
};

/// Temporary memory of Thrust's algorithms is the backend's.
struct BackendAllocator {
  using value_type = char;
  Cuda* cuda;
  char* allocate(std::ptrdiff_t bytes) { return static_cast<char*>(cuda->allocate(static_cast<std::size_t>(bytes))); }
  void deallocate(char* p, std::size_t bytes) { cuda->release(p, bytes); }
};

/// Calls f(policy) and turns what Thrust throws into an Error that names the algorithm.
template <class F>
void around_the_step(Cuda& cuda, const char* algorithm, const F& f) {
  BackendAllocator memory{&cuda};
  try {
    f(arch::thrust_policy(cuda.stream(), memory));
  } catch (const Error&) {
    throw;
  } catch (const std::exception& e) {
    throw Error(text("Cuda: ", algorithm, ": ", e.what()));
  }
}

}  // namespace detail

/// to[i] = rule(i) for i < count, on any system of Thrust.
template <class Policy, class W, class Rule>
void tabulate_by(const Policy& policy, W* to, index_t count, const Rule& rule) {
  thrust::tabulate(policy, to, to + count, detail::RuleAs<W, Rule>{rule});
}

/// to[i] = rule(i), rounded to the type of to.  @param rule a function object of an index that runs on the device
template <ContextOn<Cuda> C, class W, class Rule>
void tabulate(C& context, W* to, index_t count, const Rule& rule) {
  launch(context, "tabulate", {double(count) * sizeof(W), 0}, [&](Cuda& cuda) {
    detail::around_the_step(cuda, "tabulate", [&](const auto& policy) { tabulate_by(policy, to, count, rule); });
  });
}

}  // namespace sra::cuda
