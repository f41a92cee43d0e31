// Sums time, bytes and FLOPs of every kernel by its name.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/launch.hpp>

#include <chrono>
#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace bench {

using Clock = std::chrono::steady_clock;

inline double milliseconds_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

/// Launches of one name and one cost: those have one limit.
class KernelTimes : public sra::LaunchObserver {
 public:
  void before(const char* kernel, const sra::Cost& cost) override {
    running_.push_back({Key{kernel, cost.bytes, cost.flops}, Clock::now()});
  }
  void after(const char*) override {
    Sum& sum = sums_[running_.back().key];
    sum.ms += milliseconds_since(running_.back().start);
    ++sum.calls;
    running_.pop_back();
  }

  /// [{"name": …, "calls": …, "ms": …, "bytes": …, "flops": …}, …]: calls and ms of a step, bytes and flops of a call
  std::string json(int steps) const {
    std::ostringstream out;
    out.precision(9);
    out << '[';
    for (const auto& [key, sum] : sums_)
      out << (out.tellp() > 1 ? "," : "") << "{\"name\":\"" << key.name << "\",\"calls\":" << sum.calls / steps
          << ",\"ms\":" << sum.ms / steps << ",\"bytes\":" << key.bytes << ",\"flops\":" << key.flops << '}';
    out << ']';
    return out.str();
  }

 private:
  struct Key {
    std::string name;
    double bytes, flops;
    auto operator<=>(const Key&) const = default;
  };
  struct Sum {
    double ms = 0, calls = 0;
  };
  struct Running {
    Key key;
    Clock::time_point start;
  };

  std::map<Key, Sum> sums_;
  std::vector<Running> running_;
};

}  // namespace bench
