// Tables of what launches took by events of the device, numbers to fill its memory with, how programs for it begin.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

namespace bench {

/// Status of a program that needs a device where there is none.
inline constexpr int skipped = 77;

/// A part of a whole in percent, or a dash.
inline std::string percent(double part, double whole) {
  if (!(whole > 0)) return "-";
  char s[32];
  std::snprintf(s, sizeof s, "%.0f %%", 100 * part / whole);
  return s;
}

/// Keeps the device busy for some milliseconds, in which the host can launch ahead: then no kernel waits for its launch.
struct Delay {
  static constexpr int threads = 32;
  float* to;  ///< 32 numbers

  SRA_DEVICE void operator()() const {
    float x = to[sra::arch::thread()];
    for (int i = 0; i < 1'000'000; ++i) x = 0.5f * x + 1;
    to[sra::arch::thread()] = x;
  }
};

/// A row for every kernel, the longest first; one for all that take less than a part in 500.
inline void print(const sra::KernelTimes<sra::Cuda>& times, const sra::Limits& limits) {
  struct Row {
    sra::KernelTimes<sra::Cuda>::Key key;
    double calls, ms;
  };
  std::vector<Row> rows;
  double total = 0;
  for (const auto& [key, seconds] : times.samples()) {
    rows.push_back({key, static_cast<double>(seconds.size()) / times.passes(), 1e3 * sra::median(seconds)});
    total += rows.back().calls * rows.back().ms;
  }
  std::sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.calls * a.ms > b.calls * b.ms; });
  std::puts("| kernel | GFLOP | MB | calls | ms a call | ms in all | GB/s | TFLOP/s | of W | of R |");
  std::puts("|---|---|---|---|---|---|---|---|---|---|");
  double rest = 0, calls = 0;
  for (const Row& r : rows) {
    if (r.calls * r.ms < total / 500) {
      rest += r.calls * r.ms;
      calls += r.calls;
      continue;
    }
    const double speed = r.key.bytes / r.ms / 1e6, products = r.key.flops / r.ms / 1e9;
    std::printf("| %s | %.1f | %.1f | %.4g | %.4f | %.3f | %.0f | %.1f | %s | %s |\n", r.key.name.c_str(),
                r.key.flops / 1e9, r.key.bytes / 1e6, r.calls, r.ms, r.calls * r.ms, speed, products,
                percent(1e9 * speed, limits.bytes_per_second).c_str(),
                r.key.flops > 0 ? percent(1e12 * products, limits.flops_per_second).c_str() : "-");
  }
  if (calls > 0) std::printf("| others | | | %.4g | | %.3f | | | | |\n", calls, rest);
  std::printf("\nSum of the kernels: %.3f ms.\n\n", total);
  std::fflush(stdout);
}

/// Numbers with a normal distribution, a million of them again and again.
class Numbers {
 public:
  Numbers() {
    const sra::Rng rng(1, sra::Purpose::user, 0, 0);
    for (sra::index_t i = 0; i < 1 << 20; ++i) numbers_.push_back(rng.normal(i));
  }
  /// The next number.
  float operator()() {
    at_ = at_ + 1 < numbers_.size() ? at_ + 1 : 0;
    return numbers_[at_];
  }
  /// Fills device memory with scale times these numbers.
  template <class T>
  void fill(sra::Cuda& cuda, T* to, sra::index_t count, float scale = 1, float offset = 0) {
    std::vector<T> piece;
    for (const float x : numbers_) piece.push_back(sra::number_cast<T>(offset + scale * x));
    const auto most = static_cast<sra::index_t>(piece.size());
    for (sra::index_t i = 0; i < count; i += most)
      cuda.upload(to + i, piece.data(), static_cast<std::size_t>(std::min(most, count - i)) * sizeof(T));
  }

 private:
  std::vector<float> numbers_;
  std::size_t at_ = 0;
};

/// Device memory of some numbers.
template <class T>
class Buffer {
 public:
  Buffer(sra::Cuda& cuda, sra::index_t count)
      : memory_(sra::MemorySource::of(cuda), static_cast<std::size_t>(count) * sizeof(T)) {}
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }

 private:
  sra::Memory memory_;
};

/// What the device does at best: arguments 1 and 2 of a program, TFLOP/s and GB/s as gpu_ceilings prints them.
inline sra::Limits limits_of(int argc, char** argv) {
  const auto argument = [&](int i) { return i < argc ? std::atof(argv[i]) : 0; };
  return {1e9 * argument(2), 1e12 * argument(1)};
}

/// Runs a program that needs a device: says in one sentence what went wrong.
template <class Program>
int run_on_device(const char* name, const Program& program) {
  if (sra::arch::device_count() == 0) {
    std::fprintf(stderr, "%s: skipped: no device\n", name);
    return skipped;
  }
  try {
    program();
    return 0;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s: %s\n", name, e.what());
    return 1;
  }
}

}  // namespace bench
