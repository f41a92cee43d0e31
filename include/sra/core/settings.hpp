// The numbers of the optimiser.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cmath>

namespace sra {

/// Settings of AdamW (Loshchilov and Hutter, arXiv:1711.05101).  The defaults are those of SiT, arXiv:2401.08740.
template <class W>
struct AdamW {
  W beta1 = W(0.9);
  W beta2 = W(0.999);
  W eps = W(1e-8);
  W weight_decay = W(0);
};

/// Moving averages that an update keeps, at most.
inline constexpr int max_averages = 4;

/// What one pass over the elements [first, first + count) of flat buffers updates.  Handed to kernels by value: all addresses
/// are the backend's.
template <class W, class T = W>
struct UpdateArgs {
  index_t first = 0, count = 0;
  W* master = nullptr;                           ///< parameters p
  W *m = nullptr, *v = nullptr;                  ///< first and second moments; not read or written if frozen
  const W* gradient = nullptr;                   ///< not read if frozen
  W* ema[max_averages] = {};                     ///< moving averages, each a buffer like master
  W ema_decay[max_averages] = {};                ///< of each
  int emas = 0;                                  ///< how many there are
  T *values = nullptr, *teacher = nullptr;       ///< p and ema[0] as products read them; null where these do themselves
  W clip_scale = 1;                              ///< the gradient is multiplied by this
  W bias_correction1 = 1, bias_correction2 = 1;  ///< 1 - beta^step
  W lr = 0;
  AdamW<W> settings{};
  bool frozen = false;  ///< p stays; the moving averages still follow
};

/// 1 - beta^step, from the rounded beta that the moments are averaged with.  @param step 1 for the first update
template <class W>
W bias_correction(W beta, index_t step) {
  return static_cast<W>(1.0 - std::pow(static_cast<double>(beta), static_cast<double>(step)));
}

}  // namespace sra
