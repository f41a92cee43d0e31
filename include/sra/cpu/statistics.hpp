// Statistics of parameters on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/backend/statistics.hpp>
#include <sra/cpu/cpu.hpp>

#include <cstddef>
#include <vector>

namespace sra::backend {

/// Statistics of every parameter: a tensor's chunks are added up from its first to its last, so that the bits do not
/// depend on the number of threads.
template <ContextOn<Cpu> C, class W>
std::vector<ParameterStatistics> parameter_statistics(C& context, const UpdatedBuffers<W>& buffers,
                                                      const std::vector<ParameterRange>& parameters) {
  std::vector<ParameterStatistics> all(parameters.size());
  const double elements =
      parameters.empty() ? 0 : static_cast<double>(parameters.back().offset + parameters.back().size);
  launch(context, "parameter_statistics", {4 * elements * sizeof(W), 0}, [&](Cpu& cpu) {
    constexpr index_t chunk = UpdatedBuffers<W>::chunk;
    cpu.threads().for_each(static_cast<index_t>(all.size()), [&](index_t i, int) {
      const ParameterRange& p = parameters[static_cast<std::size_t>(i)];
      ParameterStatistics s;
      for (index_t c = p.offset / chunk; c * chunk < p.offset + p.size; ++c) s.add(buffers(p, c));
      all[static_cast<std::size_t>(i)] = s;
    });
  });
  return all;
}

}  // namespace sra::backend
