// The numbers of the optimiser.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cmath>

namespace sra {

/// Settings of AdamW (Loshchilov and Hutter, arXiv:1711.05101).  The defaults are those of SiT, arXiv:2401.08740.
template <class W>
struct AdamW {
  W lr = W(1e-4);
  W beta1 = W(0.9);
  W beta2 = W(0.999);
  W eps = W(1e-8);
  W weight_decay = W(0);
};

/// 1 - beta^step, from the rounded beta that the moments are averaged with.  @param step 1 for the first update
template <class W>
W bias_correction(W beta, index_t step) {
  return static_cast<W>(1.0 - std::pow(static_cast<double>(beta), static_cast<double>(step)));
}

}  // namespace sra
