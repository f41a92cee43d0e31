// The one door to every kernel: its name, bytes and FLOPs are known to whoever watches, and planning passes skip it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <utility>

namespace sra {

/// What a kernel moves and computes; a multiply-add is two FLOPs.
struct Cost {
  double bytes = 0;
  double flops = 0;
};

/// Sees every launch: memory plans, profilers, NaN hunts.  Called on the thread that launches.
class LaunchObserver {
 public:
  virtual ~LaunchObserver() = default;
  virtual void before(const char* kernel, const Cost& cost) = 0;
  virtual void after(const char* kernel) = 0;
};

/// Runs kernel(backend), unless the context is planning.
/// @param name string literal, the kernel's name  @param cost bytes moved and FLOPs of this call
template <class Context, class Kernel>
void launch(Context& context, const char* name, Cost cost, Kernel&& kernel) {
  LaunchObserver* observer = context.workspace().observer;
  if (observer) observer->before(name, cost);
  if (!context.planning()) std::forward<Kernel>(kernel)(context.backend());
  if (observer) observer->after(name);
}

}  // namespace sra
