// A sampler behind a C interface, for a shared library: other languages load it, and no exception leaves it.
// SPDX-License-Identifier: MIT
#include "small_run.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>

/// All that a sampler needs, in one piece.
struct lab_sampler {
  explicit lab_sampler(const char* run) : weights(cpu, run), sampler(cpu, weights.model(), weights.table()) {}

  sra::Cpu cpu;
  sra::Weights<lab::Model> weights;  // the averages of the run's newest checkpoint
  sra::Sampler<lab::Model> sampler;
};

namespace {

thread_local char message[512] = "";

/// f(), or `failure` and a message for lab_error().
auto guarded(auto failure, auto f) noexcept -> decltype(failure) {
  try {
    return f();
  } catch (const std::exception& error) {
    std::snprintf(message, sizeof message, "%s", error.what());
  } catch (...) {
    std::snprintf(message, sizeof message, "unknown error");
  }
  return failure;
}

}  // namespace

extern "C" {

/// What went wrong last in this thread.
const char* lab_error() noexcept { return message; }

/// @param run a run's folder or a file of weights  @return to be closed by lab_close, or null: see lab_error
lab_sampler* lab_open(const char* run) noexcept {
  return guarded(static_cast<lab_sampler*>(nullptr), [&] { return new lab_sampler(run); });
}

/// Draws pictures.  @param labels [n], 0 … 9  @param images [n, 16, 16, 3], written, in [-1, 1]  @return 0, or -1: see lab_error
int lab_sample(lab_sampler* lab, const std::int32_t* labels, int n, double guidance, float* images) noexcept {
  return guarded(-1, [&] {
    const auto drawn =
        lab->sampler.sample(sra::dense(labels, sra::Shape<sra::dynamic>{n}), {.steps = 20, .guidance = guidance});
    std::transform(drawn.data, drawn.data + drawn.shape.size(), images,
                   [](double x) { return static_cast<float>(std::clamp(x, -1.0, 1.0)); });
    return 0;
  });
}

void lab_close(lab_sampler* lab) noexcept { delete lab; }
}
