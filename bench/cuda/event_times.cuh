// Milliseconds of every launch by events of the device, by name and cost, and the tables that are made of them.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>
#include <vector>

namespace bench {

/// Status of a program that needs a device where there is none.
inline constexpr int skipped = 77;

inline double median(std::vector<double> x) {
  if (x.empty()) return 0;
  std::sort(x.begin(), x.end());
  return x[x.size() / 2];
}

/// What the device does at best, as ceilings measured it; 0: not known.
struct Ceilings {
  double products = 0;  ///< TFLOP/s in bf16
  double copies = 0;    ///< GB/s, read and written
};

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

/// Launches of one name and one cost: those have one limit.
class EventTimes : public sra::LaunchObserver {
 public:
  explicit EventTimes(sra::Cuda& cuda) : cuda_(&cuda) {}

  void before(const char* kernel, const sra::Cost& cost) override {
    if (used_ == launches_.size()) launches_.emplace_back();
    Launch& l = launches_[used_];
    l.key = {kernel, cost.bytes, cost.flops};
    l.start.record(cuda_->stream());
    open_.push_back(used_++);
  }
  void after(const char*) override {
    launches_[open_.back()].end.record(cuda_->stream());
    open_.pop_back();
  }
  /// Takes the times of what was launched since the last call, and keeps them unless it was a warm-up.
  void end_pass(bool keep) {
    cuda_->wait();
    for (std::size_t i = 0; keep && i < used_; ++i)
      samples_[launches_[i].key].push_back(launches_[i].end.since(launches_[i].start));
    counted_ = used_;
    passes_ += keep;
    used_ = 0;
  }
  /// Launches of the last pass.
  std::size_t launches() const { return counted_; }

  /// A row for every kernel, the longest first; one for all that take less than a part in 500.
  void print(const Ceilings& c) const {
    std::vector<Row> rows;
    double total = 0;
    for (const auto& [key, ms] : samples_) {
      rows.push_back({key, static_cast<double>(ms.size()) / passes_, median(ms)});
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
                  percent(speed, c.copies).c_str(), r.key.flops > 0 ? percent(products, c.products).c_str() : "-");
    }
    if (calls > 0) std::printf("| others | | | %.4g | | %.3f | | | | |\n", calls, rest);
    std::printf("\nSum of the kernels: %.3f ms.\n\n", total);
    std::fflush(stdout);
  }

 private:
  struct Key {
    std::string name;
    double bytes = 0, flops = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Launch {
    Key key;
    sra::arch::Timing start, end;
  };
  struct Row {
    Key key;
    double calls, ms;
  };

  sra::Cuda* cuda_;
  std::vector<Launch> launches_;
  std::vector<std::size_t> open_;
  std::size_t used_ = 0, counted_ = 0;
  int passes_ = 0;
  std::map<Key, std::vector<double>> samples_;
};

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

/// Number i of a program's arguments, or 0.
inline double argument(int argc, char** argv, int i) { return i < argc ? std::atof(argv[i]) : 0; }

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
