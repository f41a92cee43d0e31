// The CUDA backend: a device, its streams, its memory, its matrix products.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/cuda/arch/runtime.cuh>
#include <sra/cuda/arch/warpgroup.cuh>
#include <sra/cuda/products.cuh>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace sra::gpu {

/// How attention multiplies on tensor cores: a warp at a time with mma.sync, on every device since sm_80, or a warpgroup at
/// a time with wgmma.  The latter stands for the former where the program has no code for the device's sm_90a, and for heads
/// of 8 columns.
enum class AttentionKernel { mma, wgmma };

/// What may be chosen about the CUDA backend.
struct CudaOptions {
  int device = 0;
  arch::Stream stream = nullptr;  ///< of the caller, who destroys it after the backend; null: one of its own
  MemorySource memory{};          ///< of the caller: device memory on multiples of 256 bytes; empty: the runtime's
  std::size_t workspace = std::size_t{32} << 20;  ///< bytes that matrix products may use
  int candidates = 8;        ///< algorithms that are timed for each new product; 1: the library's first choice
  std::string algorithms{};  ///< file in which measured algorithms are kept; "": none
  /// Training steps, and what samplers and validations evaluate, are captured once and replayed; what an alignment does must then
  /// not depend on the step but through schedules and draws.
  bool graphs = true;
  AttentionKernel attention = AttentionKernel::mma;  ///< wgmma is not the default before it has run on a GPU
};

namespace detail {

/// Writes whether the program's code for this device has products of warpgroups.
struct WarpgroupProducts {
  static constexpr int threads = 1;
  std::int32_t* to;

  SRA_DEVICE void operator()() const { *to = arch::has_warpgroup_products(); }
};

/// A stream that ends with its owner, or none.
class OwnStream {
 public:
  explicit OwnStream(bool needed) : stream_(needed ? arch::make_stream() : nullptr) {}
  OwnStream(const OwnStream&) = delete;
  OwnStream& operator=(const OwnStream&) = delete;
  ~OwnStream() {
    if (stream_) arch::release(stream_);
  }
  arch::Stream get() const { return stream_; }

 private:
  arch::Stream stream_;
};

}  // namespace detail

/// One device and one stream, in which everything happens in order; a second one brings inputs ahead of it.  Belongs to one
/// thread.
class Cuda {
 public:
  static constexpr bool is_host = false;
  static constexpr bool wide_residual = false;
  static constexpr int counter_count = 264;
  using sampler_type = float;
  using options_type = CudaOptions;
  using graph_type = arch::Graph;
  using event_type = arch::Event;
  using timing_type = arch::Timing;

  /// @throws Error if there is no such device
  explicit Cuda(CudaOptions options = {})
      : options_(checked(options)),
        device_(arch::device(options_.device)),
        own_stream_(!options_.stream),
        ahead_(true),
        workspace_(MemorySource::of(*this), options_.workspace),
        counters_(MemorySource::of(*this), counter_count * sizeof(unsigned)),
        products_(stream(), workspace_.data(), options_.workspace, options_.candidates, options_.algorithms,
                  device_.name) {
    zero(counters_.data(), counters_.bytes());
    if (options_.attention == AttentionKernel::wgmma && !has_warpgroup_products())
      options_.attention = AttentionKernel::mma;
  }
  Cuda(const Cuda&) = delete;
  Cuda& operator=(const Cuda&) = delete;

  arch::Stream stream() const { return options_.stream ? options_.stream : own_stream_.get(); }
  /// The stream of copy_ahead.
  arch::Stream ahead() const { return ahead_.get(); }
  Products& products() { return products_; }
  /// As many as counter_count, for kernels whose last block does more than the others, see arch::arrives_last.
  unsigned* counters() const { return reinterpret_cast<unsigned*>(counters_.data()); }
  int multiprocessors() const { return device_.multiprocessors; }
  std::size_t shared_memory() const { return device_.shared_memory; }
  const std::string& name() const { return device_.name; }
  /// What attention is to use.
  AttentionKernel attention() const { return options_.attention; }
  /// What it is, for people.
  std::vector<std::pair<std::string, std::string>> facts() const {
    return {{"backend", "Cuda"}, {"device", device_.name}};
  }

  /// Device memory on a multiple of alignment_bytes, contents undefined.  Throws OutOfMemory naming size and what is free.
  void* allocate(std::size_t bytes) {
    bytes = std::max<std::size_t>(bytes, 1);
    void* p = options_.memory.allocate ? options_.memory.allocate(options_.memory.owner, bytes) : arch::allocate(bytes);
    if (!p)
      throw OutOfMemory(text("Cuda: ", device_.name, ": expected ", bytes, " bytes of memory, got none: ",
                             arch::device(options_.device).free, " of ", device_.memory, " are free"));
    return p;
  }
  /// Bytes that allocate() may still hand out; of the caller's memory as if there were no end.
  std::size_t available() const { return options_.memory.allocate ? PTRDIFF_MAX : arch::device(options_.device).free; }
  /// Gives back what allocate(bytes) returned; null is nothing.
  void release(void* p, std::size_t bytes) {
    if (!p) return;
    if (options_.memory.release)
      options_.memory.release(options_.memory.owner, p, bytes);
    else
      arch::release(p);
  }

  /// Copies between host and device; back when done.
  void upload(void* device, const void* host, std::size_t bytes) { copy_now(device, host, bytes); }
  void download(void* host, const void* device, std::size_t bytes) { copy_now(host, device, bytes); }
  void zero(void* device, std::size_t bytes) {
    arch::zero(device, bytes, stream());
    wait();
  }
  /// Waits for everything that was launched.  Throws Error if something of it failed.
  void wait() { arch::wait(stream()); }

  /// Whether steps are to be captured and replayed.
  bool graphs() const { return options_.graphs; }
  /// What f launches, to be launched again as a whole; nothing runs now.  Throws what f throws, and Error if f waits for the
  /// device or allocates.
  template <class F>
  arch::Graph capture(F&& f) {
    arch::Graph::begin(stream());
    products_.capturing(true);
    try {
      f();
    } catch (...) {
      products_.capturing(false);
      arch::Graph::abandon(stream());
      throw;
    }
    products_.capturing(false);
    return arch::Graph::end(stream());
  }
  void launch(arch::Graph& graph) { graph.launch(stream()); }
  void record(arch::Event& event) { event.record(stream()); }
  /// Puts a point in time behind what was launched so far; b.since(a) are the milliseconds between two of them.
  void mark(arch::Timing& timing) { timing.record(stream()); }
  /// Copies in the stream's order, within the device or between it and memory of pinned(), while the host goes on.
  void copy_later(void* to, const void* from, std::size_t bytes) { arch::copy(to, from, bytes, stream()); }
  /// Copies memory of pinned() to the device beside what the stream does, as soon as `free` has come; what is launched from
  /// now on starts after it.
  void copy_ahead(void* to, const void* from, std::size_t bytes, arch::Event& free) {
    free.hold(ahead());
    arch::copy(to, from, bytes, ahead());
    arrived_.record(ahead());
    arrived_.hold(stream());
  }
  /// Host memory that copy_later and copy_ahead may read, and copy_later write.
  MemorySource pinned() { return {this, allocate_pinned, release_pinned}; }

  /// From now on nothing is allocated.
  void freeze() {}

 private:
  static CudaOptions checked(CudaOptions o) {
    const int n = arch::device_count();
    if (n == 0) throw Error("Cuda: expected a device, got none: is there a GPU, and its driver?");
    if (o.device < 0 || o.device >= n)
      throw Error(text("Cuda: device: expected one of ", n, ", got number ", o.device));
    arch::choose_device(o.device);
    return o;
  }
  bool has_warpgroup_products() {
    const Memory answer(MemorySource::of(*this), sizeof(std::int32_t));
    arch::launch_kernel(stream(), 1, 0, detail::WarpgroupProducts{reinterpret_cast<std::int32_t*>(answer.data())});
    std::int32_t has = 0;
    download(&has, answer.data(), sizeof has);
    return has != 0;
  }
  static void* allocate_pinned(void*, std::size_t bytes) { return arch::allocate_pinned(bytes); }
  static void release_pinned(void*, void* p, std::size_t) { arch::release_pinned(p); }
  void copy_now(void* to, const void* from, std::size_t bytes) {
    if (bytes == 0) return;
    arch::copy(to, from, bytes, stream());
    wait();
  }

  CudaOptions options_;
  arch::Device device_;
  detail::OwnStream own_stream_, ahead_;
  arch::Event arrived_;  ///< of the last copy on ahead_
  Memory workspace_, counters_;
  Products products_;
};

}  // namespace sra::gpu

namespace sra {
using gpu::AttentionKernel;
using gpu::Cuda;
using gpu::CudaOptions;
}  // namespace sra
