// Compares tensors by norm with what a golden file allows, and remembers the worst of them.
// SPDX-License-Identifier: MIT
#pragma once

#include "deviations.hpp"
#include "golden_file.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <vector>

namespace parity {

/// Allowed ‖a − b‖ / ‖b‖ per tensor in float: ten times what float32 deviates from float64 (README of the goldens).
namespace allowed {
inline constexpr double forward = 2.7e-6, loss = 1e-6, gradient = 5.1e-6;
inline constexpr double model_after = 1.7e-4, model_after_key_norm_bias = 8e-4, ema_after = 1.6e-5;
inline constexpr double sample = 1e-5;
}  // namespace allowed

inline double norm(const std::vector<double>& x) {
  double sum = 0;
  for (const double v : x) sum += v * v;
  return std::sqrt(sum);
}

/// The outcome of one file in one type.
class Comparison {
 public:
  /// In float.
  Comparison() = default;
  /// In bf16: allowed is twice what PyTorch's bf16 deviates, or what float is allowed if that is more.
  explicit Comparison(const FileDeviations& of_bf16) : of_bf16_(&of_bf16) {}

  /// Holds ours against theirs.  @param scale what the error is divided by; negative: the norm of theirs
  void expect(const std::string& tensor, const std::vector<double>& ours, const std::vector<double>& theirs,
              double allowed, double scale = -1) {
    ++tensors_;
    Deviation d{tensor, 0, 0};
    if (of_bf16_) {
      const auto at = of_bf16_->find(tensor);
      if (at == of_bf16_->end()) return problems_.push_back(tensor + ": expected a deviation of PyTorch's, found none");
      allowed = std::max(allowed, 2 * at->second);
    }
    double sum = 0;
    if (ours.size() != theirs.size()) sum = HUGE_VAL;
    for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
      const double difference = std::abs(ours[i] - theirs[i]);
      sum += difference * difference;
      if (!(difference <= d.absolute)) d.absolute = difference;  // NaN too
    }
    const double by = allowed * (scale < 0 ? norm(theirs) : scale);
    d.fraction = sum == 0 ? 0 : std::sqrt(sum) / by;
    if (!(d.fraction <= 1)) problems_.push_back(line(d));
    if (tensors_ == 1 || !(d.fraction <= worst_.fraction)) worst_ = d;
  }
  /// Holds ours against an entry of the file that must be there.
  void expect(GoldenFile& file, const std::string& tensor, const std::vector<double>& ours,
              const std::vector<index_t>& shape, double allowed) {
    if (file.has(tensor))
      expect(tensor, ours, file.read<double>(tensor, shape), allowed);
    else
      missing(tensor);
  }
  void missing(const std::string& tensor) { problems_.push_back(tensor + ": expected in the file, found none"); }

  bool passed() const { return problems_.empty() && tensors_ > 0; }

  /// Prints what went wrong, then the line that starts with `passed FILE` or `failed FILE`.
  void print(const GoldenFile& file) const {
    for (const std::string& name : file.unknown())
      std::printf("  %s: unknown entry %s\n", file.name().c_str(), name.c_str());
    for (const std::string& problem : problems_) std::printf("  %s: %s\n", file.name().c_str(), problem.c_str());
    std::printf("%s %s: %s%d tensors, worst %s\n", passed() ? "passed" : "failed", file.name().c_str(),
                of_bf16_ ? "bf16, " : "", tensors_, tensors_ ? line(worst_).c_str() : "none");
  }

 private:
  struct Deviation {
    std::string tensor;
    double absolute, fraction;
  };
  static std::string line(const Deviation& d) {
    char s[96];
    std::snprintf(s, sizeof s, ": absolute error %.3g, %.3g of the allowed error", d.absolute, d.fraction);
    return d.tensor + s;
  }

  const FileDeviations* of_bf16_ = nullptr;
  int tensors_ = 0;
  Deviation worst_{};
  std::vector<std::string> problems_;
};

}  // namespace parity
