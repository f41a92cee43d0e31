// Measures what the device does at best: copies beyond its caches, and products of large matrices.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/limits.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/config.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/philox.hpp>
#include <sra/cuda/cuda.cuh>

#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

namespace sra::gpu {

/// A product of two square matrices of normal random numbers: zeros would take less power than training does.
/// @tparam T float or bf16
template <class T>
class LargeProduct {
 public:
  /// Takes 3 · side² numbers of device memory.
  LargeProduct(Cuda& cuda, index_t side)
      : cuda_(cuda),
        side_(side),
        a_(MemorySource::of(cuda), bytes()),
        b_(MemorySource::of(cuda), bytes()),
        c_(MemorySource::of(cuda), bytes()) {
    fill(a_, 0);
    fill(b_, 1);
  }

  /// Launches it.  The first call measures the library's proposals.
  void run() {
    const arch::ProductMatrix m{arch::number_of<T>, side_, side_, side_};
    arch::ProductKey key;
    key.transpose_a = true;
    key.a = key.b = key.c = m;
    cuda_.products().run(key, {a_.data(), b_.data(), c_.data()});
  }
  double flops() const { return 2.0 * double(side_) * double(side_) * double(side_); }

 private:
  std::size_t bytes() const { return static_cast<std::size_t>(side_ * side_) * sizeof(T); }
  /// The same million numbers again and again.
  void fill(const Memory& to, index_t which) {
    const Rng rng(1, Purpose::user, 0, which);
    std::vector<T> piece;
    for (std::uint64_t i = 0; i < std::min<std::size_t>(bytes() / sizeof(T), 1 << 20); ++i)
      piece.push_back(number_cast<T>(rng.normal(i)));
    const std::size_t part = piece.size() * sizeof(T);
    for (std::size_t at = 0; at < bytes(); at += part)
      cuda_.upload(to.data() + at, piece.data(), std::min(part, bytes() - at));
  }

  Cuda& cuda_;
  index_t side_;
  Memory a_, b_, c_;
};

/// Milliseconds of each of ten runs of f(), by events of the device.
template <class F>
std::vector<double> ten_times(Cuda& cuda, F&& f) {
  arch::Timing start, end;
  std::vector<double> ms;
  for (int i = 0; i < 10; ++i) {
    cuda.mark(start);
    f();
    cuda.mark(end);
    ms.push_back(end.since(start));
  }
  return ms;
}

/// What is copied and multiplied to find the limits.
struct LimitSizes {
  std::size_t copied = std::size_t{1} << 30;  ///< bytes; read, and as many written
  index_t side = 8192;                        ///< of matrices
};

/// The best of ten copies and of ten products.  Takes 2 · copied bytes of device memory, then 3 · side² numbers.
/// @tparam T type of the operands of products
template <class T>
Limits measured_limits(Cuda& cuda, std::type_identity<T>, const LimitSizes& sizes = {}) {
  const auto best = [](double work, const std::vector<double>& ms) {
    return 1e3 * work / *std::min_element(ms.begin(), ms.end());
  };
  Limits limits;
  {
    const Memory from(MemorySource::of(cuda), sizes.copied), to(MemorySource::of(cuda), sizes.copied);
    cuda.zero(from.data(), sizes.copied);
    const auto copy = [&] { arch::copy(to.data(), from.data(), sizes.copied, cuda.stream()); };
    limits.bytes_per_second = best(2.0 * static_cast<double>(sizes.copied), ten_times(cuda, copy));
    cuda.wait();
  }
  LargeProduct<T> product(cuda, sizes.side);
  product.run();
  limits.flops_per_second = best(product.flops(), ten_times(cuda, [&] { product.run(); }));
  return limits;
}

}  // namespace sra::gpu
