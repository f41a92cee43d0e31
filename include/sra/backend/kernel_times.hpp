// Seconds of every launch, kept by the kernel's name and cost.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/core/clock.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra {

/// Where the host's clock stood.
class HostTiming {
 public:
  void record() { at_ = now_seconds(); }
  /// Milliseconds from an earlier point to this one.
  double since(const HostTiming& start) const { return 1e3 * (at_ - start.at_); }

 private:
  double at_ = 0;
};

/// The middle of some numbers, of an even number of them the higher; 0 of none.
inline double median(std::vector<double> x) {
  if (x.empty()) return 0;
  const auto middle = x.begin() + static_cast<std::ptrdiff_t>(x.size() / 2);
  std::nth_element(x.begin(), middle, x.end());
  return *middle;
}

/// Observes launches and measures each.  A backend whose launches return early may have marks of its own:
///   timing_type    a point in the backend's order; b.since(a) are the milliseconds between two of them, and waits for b
///   mark(timing)   puts it behind what was launched so far
/// Other backends are waited for before and after every launch; where the host's memory is the backend's, that is nothing.
template <Backend B>
class KernelTimes : public LaunchObserver {
 public:
  /// Launches of one name and one cost: those have one limit.
  struct Key {
    std::string name;
    double bytes = 0, flops = 0;
    auto operator<=>(const Key&) const = default;
  };
  using Samples = std::map<Key, std::vector<double>>;

  /// @param backend must outlive the observer
  explicit KernelTimes(B& backend) : backend_(&backend) {}

  void before(const char* kernel, const Cost& cost) override {
    if (used_ == launches_.size()) launches_.emplace_back();
    launches_[used_].kernel = kernel;
    launches_[used_].cost = cost;
    open_.push_back(used_);
    mark(launches_[used_++].start);
  }
  void after(const char*) override {
    mark(launches_[open_.back()].end);
    open_.pop_back();
  }

  /// Takes the times of what was launched since the last call, and keeps them unless it was a warm-up.
  void end_pass(bool keep = true) {
    backend_->wait();
    for (std::size_t i = 0; keep && i < used_; ++i) {
      const Launch& l = launches_[i];
      samples_[{l.kernel, l.cost.bytes, l.cost.flops}].push_back(l.end.since(l.start) / 1e3);
    }
    launched_ = used_;
    passes_ += keep;
    used_ = 0;
  }

  /// Seconds of every launch that was kept.
  const Samples& samples() const { return samples_; }
  /// Passes that were kept.
  int passes() const { return passes_; }
  /// Launches of the last pass.
  std::size_t launches() const { return launched_; }

 private:
  static constexpr bool marks = requires { typename B::timing_type; };
  static auto timing() {
    if constexpr (marks)
      return std::type_identity<typename B::timing_type>{};
    else
      return std::type_identity<HostTiming>{};
  }
  using Timing = typename decltype(timing())::type;
  struct Launch {
    const char* kernel = nullptr;
    Cost cost{};
    Timing start{}, end{};
  };

  void mark(Timing& timing) {
    if constexpr (marks) {
      backend_->mark(timing);
    } else {
      backend_->wait();
      timing.record();
    }
  }

  B* backend_;
  std::vector<Launch> launches_;  // kept from pass to pass
  std::vector<std::size_t> open_;
  std::size_t used_ = 0, launched_ = 0;
  int passes_ = 0;
  Samples samples_;
};

}  // namespace sra
