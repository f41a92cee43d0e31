// What memory a training run takes, and what would fit if that does not.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/checkpoint.hpp>
#include <sra/core/config.hpp>
#include <sra/core/error.hpp>

#include <cstddef>
#include <cstdio>
#include <string>

namespace sra {

/// The memory of a training run by purpose, bytes.
struct MemoryPlan {
  std::size_t parameters = 0;   ///< values, moments, gradients and averages, and copies in the type of products
  std::size_t activations = 0;  ///< the most that one micro-batch keeps for its backward pass or has in work
  std::size_t gradients = 0;    ///< of activations, at most at one time

  std::size_t total() const { return parameters + activations + gradients; }
  /// One line.
  std::string text() const {
    const auto mib = [](std::size_t bytes) { return std::to_string((bytes + (1u << 19)) >> 20) + " MiB"; };
    return sra::text("memory ", mib(total()), ": parameters and optimizer ", mib(parameters), ", activations ",
                     mib(activations), ", their gradients ", mib(gradients));
  }
};

/// Bytes as "71.2 GiB", or in MiB below one GiB.
inline std::string memory_text(std::size_t bytes) {
  const bool large = bytes >= std::size_t{1} << 30;
  char line[40];
  std::snprintf(line, sizeof line, "%.1f %s", static_cast<double>(bytes) / (large ? 0x1p30 : 0x1p20),
                large ? "GiB" : "MiB");
  return line;
}

/// The sentence about a run that does not fit, with what would.
/// @param available bytes, to all of the run  @param accumulate micro-batches per update, of batch / accumulate samples
/// @param plan plan(samples of a micro-batch) is a MemoryPlan
template <class Model, class Plan>
std::string memory_advice(std::size_t available, index_t batch, index_t accumulate, const Plan& plan) {
  std::size_t total = plan(batch / accumulate).total();
  std::string sentence =
      text("Trainer: memory ", memory_text(total), " needed, ", memory_text(available), " available: ");
  index_t fewer = accumulate;  // samples in a micro-batch with this many of them
  while (fewer < batch && total > available)
    if (batch % ++fewer == 0) total = plan(batch / fewer).total();
  if (fewer == accumulate)
    sentence += "a micro-batch has 1 sample already";
  else
    sentence += text(total > available ? "even " : "", "accumulate = ", fewer, " would need ", memory_text(total));
  if constexpr (requires { Model::config.recompute; })
    if (Model::config.recompute != Recompute::block)
      sentence += "; a higher .recompute in the model's config needs less";
  return sentence;
}

/// f(), which takes memory of a training run; if there is too little, the error says what would fit, where the backend knows.
/// @throws OutOfMemory and what else f throws
template <class Model, class Engine, class F>
void with_memory_advice(Engine& engine, index_t batch, index_t accumulate, const F& f) {
  try {
    f();
  } catch (const OutOfMemory&) {
    if constexpr (requires { engine.workspace().backend.available(); }) {
      const std::size_t available = engine.workspace().backend.available() + engine.held();
      const auto plan = [&](index_t samples) { return engine.plan(samples); };
      if (plan(batch / accumulate).total() > available)
        throw OutOfMemory(memory_advice<Model>(available, batch, accumulate, plan));
    }
    throw;
  }
}

}  // namespace sra
