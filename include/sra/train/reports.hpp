// What steps cost and what updates did, as the host reads it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/core/settings.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sra {

/// What a micro-batch cost.
struct Losses {
  double denoising = 0;  ///< mean over the batch
  double alignment = 0;  ///< unweighted
  double weight = 0;     ///< of the alignment
  double total = 0;      ///< denoising + weight · alignment
};

/// What an update did.
struct UpdateReport {
  double gradient_norm = 0;  ///< before clipping
  bool skipped = false;      ///< the norm was not finite, or above 1e18 after clipping: nothing was changed
};

/// What one update reports.
struct StepReport {
  Losses losses{};           ///< means over the update's micro-batches
  double gradient_norm = 0;  ///< before clipping
  double lr = 0;
  bool skipped = false;  ///< the gradient was not finite; nothing was changed
};

/// Settings of the update.
struct UpdateSettings {
  double lr = 1e-4;
  AdamW<double> adamw{};
  double clip = 1.0;                      ///< largest gradient norm; 0: no clipping
  std::vector<double> ema_decay{0.9999};  ///< at most max_averages; the first average is the teacher
  bool ema_warmup = true;                 ///< decay min(decay, (1 + n) / (10 + n)) at update n
};

/// The reports of steps that nobody waits for.  A step's losses arrive when its micro-batches have run, its norm with the update;
/// all of it is known before the next step's update is launched, when that step's report has begun: there are two at a time.
struct LateReports {
  StepReport of[2];                ///< of step number i of these in place i mod 2
  UpdateReport update{};           ///< of the last that was started
  std::uint64_t ticket = 0;        ///< to wait for
  index_t started = 0, known = 0;  ///< how many steps were, and of how many all is known: as many, or one less

  StepReport& begin() { return of[started % 2] = {}; }
  /// The report of the step that is not known yet; everything of it has come.
  const StepReport& finish() {
    StepReport& report = of[known++ % 2];
    report.gradient_norm = update.gradient_norm;
    report.skipped = update.skipped;
    return report;
  }
};

/// The losses of a micro-batch from the numbers that the device made.
/// @param read the unweighted alignment, the loss that was differentiated, the denoising loss of each of `batch` samples
/// @param per_sample those losses again
template <class W>
Losses losses_of(const W* read, index_t batch, W weight, std::vector<W>& per_sample) {
  per_sample.assign(read + 2, read + 2 + batch);
  double sum = 0;
  for (const W l : per_sample) sum += static_cast<double>(l);
  const W mean = static_cast<W>(sum / static_cast<double>(batch));
  return {double(mean), double(read[0]), double(weight), double(read[1])};
}

}  // namespace sra
