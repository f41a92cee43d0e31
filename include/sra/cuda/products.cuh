// Matrix products of the CUDA backend: one plan for every key, its algorithm measured once and kept in a file.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cuda/arch/blas.cuh>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <string>
#include <utility>

namespace sra::gpu {

/// A key as one word of a file.
inline std::string to_string(const arch::ProductKey& k) {
  std::ostringstream s;
  const auto matrix = [&](const arch::ProductMatrix& m) {
    s << (m.number == arch::Number::bf16 ? "bf16:" : "f32:") << m.rows << ':' << m.columns << ':' << m.stride << ':'
      << m.step << ',';
  };
  s << (k.transpose_a ? 'T' : 'N') << (k.transpose_b ? 'T' : 'N') << (k.accumulate ? '+' : '=') << ',';
  for (const auto* m : {&k.a, &k.b, &k.c}) matrix(*m);
  s << k.batch << ',' << k.bias_step << ',' << static_cast<int>(k.epilogue) << ',' << k.aux_stride << ','
    << k.alignment;
  return s.str();
}

/// Runs products.  A key that is met for the first time is planned: its algorithm comes from the file, or from timing those that
/// the library proposes, or is the library's first.  One stream, one workspace.
class Products {
 public:
  /// @param workspace device memory of `bytes` bytes  @param file of measured algorithms, or "": none is read or written
  Products(arch::Stream stream, void* workspace, std::size_t bytes, int candidates, std::string file,
           std::string device)
      : stream_(stream),
        workspace_(workspace),
        bytes_(bytes),
        candidates_(candidates),
        file_(std::move(file)),
        stamp_(stamp_of(device)) {
    read();
  }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

  /// Whether the library has an algorithm for this product on these addresses.  Says once for each product that it has none.
  bool supports(arch::ProductKey key, const arch::ProductOperands& o) { return plan(aligned(key, o), o).found; }

  /// c = op(a) op(b) and what the epilogue says.  @throws Error if there is no algorithm
  void run(arch::ProductKey key, const arch::ProductOperands& o) {
    key = aligned(key, o);
    Plan& p = plan(key, o);
    if (!p.found) throw Error(text("Cuda: expected an algorithm for the product ", to_string(key), ", got none"));
    p.product.run(blas_, stream_, p.algorithm, o, workspace_, bytes_);
  }

  /// While capturing, nothing is timed.
  void capturing(bool on) { capturing_ = on; }

 private:
  struct Plan {
    arch::Product product;
    arch::Algorithm algorithm{};
    bool found = false;
  };

  static std::string stamp_of(std::string device) {
    std::replace(device.begin(), device.end(), ' ', '_');
    return device + "," + std::to_string(arch::Blas::version());
  }
  static arch::ProductKey aligned(arch::ProductKey key, const arch::ProductOperands& o) {
    const auto bytes = [](const arch::ProductMatrix& m) {
      return (m.stride | m.step) * (m.number == arch::Number::bf16 ? 2 : 4);
    };
    std::uint64_t all = 16;
    for (const void* p : {o.a, o.b, static_cast<const void*>(o.c), o.bias, o.aux})
      all |= reinterpret_cast<std::uintptr_t>(p);
    for (const index_t n : {bytes(key.a), bytes(key.b), bytes(key.c)}) all |= static_cast<std::uint64_t>(n);
    key.alignment = 1 << std::countr_zero(all);
    return key;
  }

  Plan& plan(const arch::ProductKey& key, const arch::ProductOperands& o) {
    if (const auto at = plans_.find(key); at != plans_.end()) return at->second;
    Plan p{arch::Product(key)};
    p.product.point(o);
    if (const auto known = known_.find(to_string(key)); known != known_.end()) {
      p.algorithm = known->second;
      p.found = p.product.fits(blas_, p.algorithm, bytes_);
    }
    if (!p.found) choose(p, key, o);
    if (!p.found && key.epilogue != arch::Epilogue::none)
      std::cerr << "Cuda: no algorithm for " + to_string(key) + "; its epilogue is a kernel of its own\n";
    return plans_.emplace(key, std::move(p)).first->second;
  }

  /// Timing overwrites c, which run() then writes again; what is added to c cannot be timed and takes what was measured without.
  void choose(Plan& p, const arch::ProductKey& key, const arch::ProductOperands& o) {
    const bool timed = candidates_ > 1 && !capturing_ && !key.accumulate;
    if (key.accumulate) {
      arch::ProductKey overwriting = key;
      overwriting.accumulate = false;
      if (const auto other = plans_.find(overwriting); other != plans_.end() && other->second.found) {
        p.algorithm = other->second.algorithm;
        p.found = p.product.fits(blas_, p.algorithm, bytes_);
        if (p.found) return;
      }
    }
    const auto all = p.product.candidates(blas_, timed ? candidates_ : 1, bytes_);
    p.found = !all.empty();
    if (!p.found) return;
    p.algorithm = all.front();
    if (!timed || all.size() == 1) return;
    double best = 0;
    for (const arch::Algorithm& a : all) {
      const double time = time_of(p.product, a, o);
      if (best != 0 && time >= best) continue;
      best = time;
      p.algorithm = a;
    }
    write(key, p.algorithm);
  }

  double time_of(arch::Product& product, const arch::Algorithm& a, const arch::ProductOperands& o) {
    product.run(blas_, stream_, a, o, workspace_, bytes_);
    double best = 0;
    for (int round = 0; round < 3; ++round) {
      arch::wait(stream_);
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < 4; ++i) product.run(blas_, stream_, a, o, workspace_, bytes_);
      arch::wait(stream_);
      const double time = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      best = round == 0 ? time : std::min(best, time);
    }
    return best;
  }

  /// Lines "device,version key algorithm"; those of other devices and versions stay unread, broken ones too.
  void read() {
    std::ifstream in(file_);
    for (std::string line; !file_.empty() && std::getline(in, line);) {
      std::istringstream words(line);
      std::string stamp, key, algorithm;
      arch::Algorithm a;
      if (words >> stamp >> key >> algorithm && stamp == stamp_ && arch::Algorithm::from_text(algorithm, a))
        known_[key] = a;
    }
  }
  void write(const arch::ProductKey& key, const arch::Algorithm& a) const {
    if (!file_.empty()) std::ofstream(file_, std::ios::app) << stamp_ + ' ' + to_string(key) + ' ' + a.to_text() + '\n';
  }

  arch::Blas blas_;
  arch::Stream stream_;
  void* workspace_;
  std::size_t bytes_;
  int candidates_;
  std::string file_, stamp_;
  std::map<arch::ProductKey, Plan> plans_;
  std::map<std::string, arch::Algorithm> known_;
  bool capturing_ = false;
};

}  // namespace sra::gpu
