// What the parameters of a run look like, tensor by tensor: weights, gradients and updates, and how these compare.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/context.hpp>
#include <sra/backend/statistics.hpp>
#include <sra/core/settings.hpp>
#include <sra/train/store.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace sra {

/// Statistics of a parameter tensor after a step.
///
///     if (step.every(1'000))
///       for (const sra::TensorStatistics& t : trainer.tensor_statistics())
///         std::printf("%-40s %.3g %.3g\n", t.name.c_str(), t.weight.rms(), t.update_ratio());
struct TensorStatistics {
  std::string name;
  Statistics weight;    ///< of the values
  Statistics gradient;  ///< as backward left it: before clipping; zeros where nothing wrote one
  Statistics update;  ///< of values minus values before the step, before they were rounded; zeros where nothing changed

  /// ‖update‖ / ‖weight‖: how far a step moves a tensor, as a rule of thumb by a part of 1e-3; one tensor far above the
  /// others asks for a smaller learning rate, one far below hardly learns.
  double update_ratio() const { return update.squares > 0 ? update.norm() / weight.norm() : 0; }
};

/// Statistics of every parameter of a store, from one pass over four of its flat buffers on the backend.
/// @param args of the last update, but for its range
/// @param updated tells by a parameter and its number whether that update changed it
template <Context C, class Store, class W, class T, class F>
std::vector<TensorStatistics> tensor_statistics(C& context, const Store& store, const UpdateArgs<W, T>& args,
                                                F&& updated) {
  static_assert(param_alignment % UpdatedBuffers<W>::chunk == 0, "tensor_statistics: a chunk is of one parameter");
  const std::vector<ParamInfo>& list = store.parameters();
  std::vector<ParameterRange> ranges;
  for (std::size_t i = 0; i < list.size(); ++i) ranges.push_back({list[i].offset, list[i].size, updated(list[i], i)});
  const UpdatedBuffers<W> buffers{args.master, args.m, args.v, args.gradient, UpdateState<W>(args)};
  std::vector<TensorStatistics> all;
  for (const ParameterStatistics& s : parameter_statistics(context, buffers, ranges))
    all.push_back({list[all.size()].name, s.weight, s.gradient, s.update});
  return all;
}

}  // namespace sra
