// Numbers that change while a run proceeds: learning rates and loss weights as functions of progress.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <new>
#include <type_traits>

namespace sra {

/// Where a run is.
struct Progress {
  index_t step = 0;   ///< finished updates
  index_t steps = 0;  ///< of the whole run; 0 if open-ended
  index_t epoch = 0;  ///< 0-based; 0 for endless data
  /// step / steps in [0, 1]; 0 if open-ended
  double fraction() const { return steps > 0 ? static_cast<double>(step) / static_cast<double>(steps) : 0.0; }
};

/// A number as a function of progress; trivially copyable, up to 48 bytes of parameters.
class Schedule {
 public:
  /// Any trivially copyable callable double(const Progress&).
  template <class F>
    requires(!std::is_same_v<std::remove_cvref_t<F>, Schedule> &&
             std::is_invocable_r_v<double, const F&, const Progress&>)
  Schedule(F f)
      : call_([](const void* p, const Progress& at) { return static_cast<double>((*static_cast<const F*>(p))(at)); }) {
    static_assert(std::is_trivially_copyable_v<F> && sizeof(F) <= sizeof(state_),
                  "Schedule: the function must be trivially copyable and hold at most 48 bytes");
    ::new (static_cast<void*>(state_)) F(f);
  }

  double operator()(const Progress& at) const { return call_(state_, at); }

 private:
  alignas(16) std::byte state_[48] = {};
  double (*call_)(const void*, const Progress&);
};

/// Always the same.
inline Schedule constant(double value) {
  return [value](const Progress&) { return value; };
}

/// Linear from 0 to `value` over the first `warmup` steps, then constant.
inline Schedule warmup(double value, index_t warmup) {
  return [=](const Progress& p) {
    return value * std::fmin(1.0, static_cast<double>(p.step + 1) / static_cast<double>(warmup > 0 ? warmup : 1));
  };
}

/// Linear warm-up to `value`, then half a cosine down to `last` at the end of the run; constant in an open-ended one.
/// Loshchilov and Hutter 2017, arXiv:1608.03983.
inline Schedule warmup_cosine(double value, index_t warmup, double last = 0) {
  return [=](const Progress& p) {
    if (p.step < warmup) return value * static_cast<double>(p.step + 1) / static_cast<double>(warmup);
    if (p.steps <= 0) return value;
    const double rest = static_cast<double>(p.steps > warmup ? p.steps - warmup : 1);
    const double done = std::fmin(1.0, static_cast<double>(p.step - warmup) / rest);
    return last + (value - last) * 0.5 * (1.0 + std::cos(3.14159265358979323846 * done));
  };
}

/// The authors' weight of the smooth L1, L1 and L2 distances at 256 x 256: 2 · 0.1^k, k = 1 up to epoch 149, then
/// (epoch − 149) / 1000 + 1.   Released code of arXiv:2505.02831.  @param scale 2 for SiT, 0.4 for DiT
inline Schedule authors_256(double scale = 2) {
  return [scale](const Progress& p) {
    const double e = static_cast<double>(p.epoch);
    return scale * std::pow(0.1, e > 149 ? (e - 149) / 1000 + 1 : 1.0);
  };
}

/// The same at 512 x 512: constant up to epoch 99, then a tenth every 800 epochs.
inline Schedule authors_512(double scale = 2) {
  return [scale](const Progress& p) {
    const double e = static_cast<double>(p.epoch);
    return scale * std::pow(0.1, e > 99 ? (e - 99) / 800 + 1 : 1.0);
  };
}

}  // namespace sra
