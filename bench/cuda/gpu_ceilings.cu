// What the device does at best: copies, and products of large matrices, for a moment and for three seconds.
// SPDX-License-Identifier: MIT
//
//   gpu_ceilings             prints Markdown; its last line is `ceilings R W`, TFLOP/s and GB/s, for the other programs
//   gpu_ceilings --probe     only whether there is a device
#include "event_times.cuh"

#include <chrono>

namespace bench {
namespace {

using namespace sra;

int attribute(cudaDeviceAttr what) {
  int x = 0;
  arch::check(cudaDeviceGetAttribute(&x, what, 0), "cudaDeviceGetAttribute");
  return x;
}

/// Reads and writes 16 bytes a thread.
struct CopyPieces {
  gpu::Vector<std::uint32_t, 4>* to;
  const gpu::Vector<std::uint32_t, 4>* from;

  SRA_DEVICE void operator()(index_t i) const { to[i] = from[i]; }
};

/// GB/s, read and written, the best of ten runs of f(), which moves `bytes` in all.
template <class F>
double speed_of(Cuda& cuda, double bytes, const F& f) {
  const std::vector<double> ms = gpu::ten_times(cuda, f);
  return bytes / *std::min_element(ms.begin(), ms.end()) / 1e6;
}

double copies(Cuda& cuda) {
  constexpr std::size_t bytes = std::size_t{2} << 30;  // read, and as many written: 4 GB
  const Buffer<std::byte> from(cuda, bytes), to(cuda, bytes);
  cuda.zero(from.data(), bytes);
  const double runtime =
      speed_of(cuda, 2.0 * double(bytes), [&] { arch::copy(to.data(), from.data(), bytes, cuda.stream()); });
  const double kernel = speed_of(cuda, 2.0 * double(bytes), [&] {
    using Piece = gpu::Vector<std::uint32_t, 4>;
    gpu::for_each(cuda, static_cast<index_t>(bytes / sizeof(Piece)),
                  CopyPieces{reinterpret_cast<Piece*>(to.data()), reinterpret_cast<const Piece*>(from.data())});
  });
  std::printf(
      "| copy of the runtime, read and written | %.0f GB/s |\n| copy by for_each, read and written | %.0f GB/s |\n",
      runtime, kernel);
  return std::max(runtime, kernel);
}

double products(Cuda& cuda) {
  gpu::LargeProduct<bf16> product(cuda, 8192);
  product.run();  // measures the library's proposals
  const double brief = product.flops() / median(gpu::ten_times(cuda, [&] { product.run(); })) / 1e9;
  int count = 0;
  double ms = 0;
  arch::Timing start, end;
  for (; ms < 3000; count += 20) {
    start.record(cuda.stream());
    for (int i = 0; i < 20; ++i) product.run();
    end.record(cuda.stream());
    ms += end.since(start);
  }
  const double sustained = product.flops() * count / ms / 1e9;
  std::printf(
      "| product of bf16, 8192^3, median of ten | %.0f TFLOP/s |\n| the same for three seconds | %.0f TFLOP/s |\n",
      brief, sustained);
  return brief;
}

void run() {
  Cuda cuda;
  const arch::Device d = arch::device(0);
  std::printf("| what | value |\n|---|---|\n| device | %s |\n| multiprocessors | %d |\n", d.name.c_str(),
              d.multiprocessors);
  std::printf("| memory | %.1f GiB, %.1f free |\n", double(d.memory) / (1 << 30), double(d.free) / (1 << 30));
  std::printf("| largest clock | %.0f MHz, of the memory %.0f MHz |\n", attribute(cudaDevAttrClockRate) / 1e3,
              attribute(cudaDevAttrMemoryClockRate) / 1e3);
  std::printf("| cache of the second level | %.0f MiB |\n", attribute(cudaDevAttrL2CacheSize) / double(1 << 20));
  std::printf("| compute capability | %d.%d |\n", attribute(cudaDevAttrComputeCapabilityMajor),
              attribute(cudaDevAttrComputeCapabilityMinor));
  std::printf("| cuBLASLt | %zu |\n", arch::Blas::version());
  std::fflush(stdout);
  const double w = copies(cuda), r = products(cuda);
  std::printf("\nceilings %.1f %.1f\n", r, w);
}

}  // namespace
}  // namespace bench

int main(int argc, char**) {
  return bench::run_on_device("gpu_ceilings", [&] {
    if (argc == 1) bench::run();
  });
}
