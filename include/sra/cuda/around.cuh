// By Thrust, which may allocate and waits, around a step and never in it: initial values, statistics of parameters.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/statistics.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/error.hpp>
#include <sra/cuda/arch/thrust.cuh>
#include <sra/cuda/kernel.cuh>

#include <thrust/functional.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/discard_iterator.h>
#include <thrust/iterator/transform_iterator.h>
#include <thrust/reduce.h>
#include <thrust/tabulate.h>

#include <cstddef>
#include <exception>
#include <vector>

namespace sra::gpu {

namespace detail {

/// rule(i) as the type of what is written.
template <class W, class Rule>
struct RuleAs {
  Rule rule;
  SRA_FN W operator()(index_t i) const { return static_cast<W>(rule(i)); }
};

/// The number of the parameter that chunk i belongs to: the last that does not begin behind it.
struct ParameterOfChunk {
  const ParameterRange* parameters;
  index_t count, chunk;

  SRA_FN index_t operator()(index_t i) const {
    index_t low = 0, high = count;  // the one that is sought lies in [low, high)
    while (high - low > 1) {
      const index_t middle = (low + high) / 2;
      (parameters[middle].offset <= i * chunk ? low : high) = middle;
    }
    return low;
  }
};

template <class W>
struct StatisticsOfChunk {
  UpdatedBuffers<W> buffers;
  ParameterOfChunk parameter;
  SRA_FN ParameterStatistics operator()(index_t i) const { return buffers(parameter.parameters[parameter(i)], i); }
};

struct Added {
  SRA_FN ParameterStatistics operator()(ParameterStatistics a, const ParameterStatistics& b) const {
    a.add(b);
    return a;
  }
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

/// to[k] = the statistics of parameter k, on any system of Thrust: chunks of 64 elements, each summed one after the other
/// in double, by one reduce_by_key.  The system chooses the order in which it adds up the n chunks of a tensor: sums of two
/// systems, or of two runs on a GPU, may differ by n 2^-52 Σ |x|; counts, min and max do not.
/// @param parameters in the order of their offsets, without gaps of a chunk; they and `to` are memory of the system
template <class Policy, class W>
void parameter_statistics_by(const Policy& policy, const UpdatedBuffers<W>& buffers, const ParameterRange* parameters,
                             index_t count, index_t elements, ParameterStatistics* to) {
  constexpr index_t chunk = UpdatedBuffers<W>::chunk;
  const detail::ParameterOfChunk parameter{parameters, count, chunk};
  const thrust::counting_iterator<index_t> chunks(0);
  const auto keys = thrust::make_transform_iterator(chunks, parameter);
  const auto values = thrust::make_transform_iterator(chunks, detail::StatisticsOfChunk<W>{buffers, parameter});
  thrust::reduce_by_key(policy, keys, keys + (elements + chunk - 1) / chunk, values, thrust::make_discard_iterator(),
                        to, thrust::equal_to<index_t>(), detail::Added{});
}

/// to[i] = rule(i), rounded to the type of to.  @param rule a function object of an index that runs on the device
template <ContextOn<Cuda> C, class W, class Rule>
void tabulate(C& context, W* to, index_t count, const Rule& rule) {
  launch(context, "tabulate", {double(count) * sizeof(W), 0}, [&](Cuda& cuda) {
    detail::around_the_step(cuda, "tabulate", [&](const auto& policy) { tabulate_by(policy, to, count, rule); });
  });
}

/// Statistics of every parameter, see parameter_statistics_by; takes memory for their numbers alone and gives it back.
template <ContextOn<Cuda> C, class W>
std::vector<ParameterStatistics> parameter_statistics(C& context, const UpdatedBuffers<W>& buffers,
                                                      const std::vector<ParameterRange>& parameters) {
  std::vector<ParameterStatistics> all(parameters.size());
  if (parameters.empty()) return all;
  const index_t elements = parameters.back().offset + parameters.back().size;
  launch(context, "parameter_statistics", {4 * double(elements) * sizeof(W), 0}, [&](Cuda& cuda) {
    const std::size_t places = parameters.size() * sizeof(ParameterRange), bytes = all.size() * sizeof all[0];
    Memory where(MemorySource::of(cuda), places), found(MemorySource::of(cuda), bytes);
    cuda.upload(where.data(), parameters.data(), places);
    detail::around_the_step(cuda, "reduce_by_key", [&](const auto& policy) {
      parameter_statistics_by(policy, buffers, reinterpret_cast<const ParameterRange*>(where.data()),
                              static_cast<index_t>(parameters.size()), elements,
                              reinterpret_cast<ParameterStatistics*>(found.data()));
    });
    cuda.download(all.data(), found.data(), bytes);
  });
  return all;
}

}  // namespace sra::gpu
