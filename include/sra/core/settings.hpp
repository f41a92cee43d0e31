// The numbers of the optimiser.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cmath>
#include <cstdint>

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

/// The numbers of an update that differ from step to step, in one block: kernels of a captured update read them there, and
/// find there whether to update at all.
template <class W>
struct UpdateState {
  W keep = 1, rest1 = 0, rest2 = 0, over_root = 1,
    step = 0;  ///< 1 - lr weight_decay, 1 - beta, sqrt(correction 2), lr / correction 1
  W beta2 = 0, eps = 0;
  W ema_decay[max_averages] = {};
  W clip_scale = 1;
  std::int32_t skipped = 0;  ///< nothing is changed
  double clip = 0;           ///< largest gradient norm; 0: no clipping
  double squared_norm = 0;   ///< of the gradient

  UpdateState() = default;
  /// @param args without addresses
  template <class T>
  explicit UpdateState(const UpdateArgs<W, T>& args)
      : keep(static_cast<W>(1.0 - static_cast<double>(args.lr) * static_cast<double>(args.settings.weight_decay))),
        rest1(static_cast<W>(1.0 - static_cast<double>(args.settings.beta1))),
        rest2(static_cast<W>(1.0 - static_cast<double>(args.settings.beta2))),
        over_root(static_cast<W>(std::sqrt(static_cast<double>(args.bias_correction2)))),
        step(static_cast<W>(static_cast<double>(args.lr) / static_cast<double>(args.bias_correction1))),
        beta2(args.settings.beta2),
        eps(args.settings.eps),
        clip_scale(args.clip_scale) {
    for (int i = 0; i < max_averages; ++i) ema_decay[i] = args.ema_decay[i];
  }

  /// Scales gradients down to the largest norm; skips the update if the norm is not finite, or above 1e18 after it: its
  /// square must be a float.
  SRA_FN void decide(double squares) {
    const double norm = std::sqrt(squares), most = clip / (norm + 1e-6);
    const double scale = clip > 0 && most < 1 ? most : 1.0;
    squared_norm = squares;
    clip_scale = static_cast<W>(scale);
    skipped = !(norm * scale < 1e18);
  }
};

/// 1 - beta^step, from the rounded beta that the moments are averaged with.  @param step 1 for the first update
template <class W>
W bias_correction(W beta, index_t step) {
  return static_cast<W>(1.0 - std::pow(static_cast<double>(beta), static_cast<double>(step)));
}

}  // namespace sra
