// The CUDA runtime as the backend uses it: memory, streams, events, graphs, launches; every status is checked.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cuda/arch/device.cuh>

#include <cuda_runtime.h>

#include <cstddef>
#include <string>
#include <utility>

namespace sra::arch {

using Stream = cudaStream_t;

/// @throws Error that names the call and the status
inline void check(cudaError_t status, const char* call) {
  if (status == cudaSuccess) return;
  cudaGetLastError();  // forgotten where it can be, so that the next call is not blamed
  throw Error(text("Cuda: ", call, ": ", cudaGetErrorName(status), ": ", cudaGetErrorString(status)));
}

/// How many devices there are; 0 without a driver.
inline int device_count() {
  int n = 0;
  const cudaError_t status = cudaGetDeviceCount(&n);
  if (status == cudaSuccess) return n;
  cudaGetLastError();
  return 0;
}

/// What the backend must know of a device.
struct Device {
  std::string name;
  int multiprocessors = 0;
  std::size_t shared_memory = 0;  ///< of a block, bytes
  std::size_t memory = 0, free = 0;
};
inline Device device(int number) {
  cudaDeviceProp p{};
  check(cudaGetDeviceProperties(&p, number), "cudaGetDeviceProperties");
  Device d{p.name, p.multiProcessorCount, p.sharedMemPerBlockOptin, p.totalGlobalMem, 0};
  check(cudaMemGetInfo(&d.free, &d.memory), "cudaMemGetInfo");
  return d;
}
inline void choose_device(int number) { check(cudaSetDevice(number), "cudaSetDevice"); }

/// Memory of the device, or null if there is not enough.
inline void* allocate(std::size_t bytes) {
  void* p = nullptr;
  const cudaError_t status = cudaMalloc(&p, bytes);
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  check(status, "cudaMalloc");
  return p;
}
inline void release(void* p) { cudaFree(p); }
/// Host memory that copies may read and write while the host goes on.
inline void* allocate_pinned(std::size_t bytes) {
  void* p = nullptr;
  check(cudaMallocHost(&p, bytes), "cudaMallocHost");
  return p;
}
inline void release_pinned(void* p) { cudaFreeHost(p); }
/// Memory that host and device may use by turns; released like the device's.
inline void* allocate_managed(std::size_t bytes) {
  void* p = nullptr;
  check(cudaMallocManaged(&p, bytes), "cudaMallocManaged");
  return p;
}

inline Stream make_stream() {
  Stream s = nullptr;
  check(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
  return s;
}
inline void release(Stream s) { cudaStreamDestroy(s); }
inline void wait(Stream s) { check(cudaStreamSynchronize(s), "cudaStreamSynchronize"); }

inline void copy(void* to, const void* from, std::size_t bytes, Stream s) {
  check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, s), "cudaMemcpyAsync");
}
inline void zero(void* to, std::size_t bytes, Stream s) { check(cudaMemsetAsync(to, 0, bytes, s), "cudaMemsetAsync"); }

/// A point in a stream.
class Event {
 public:
  Event() { check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreateWithFlags"); }
  ~Event() { cudaEventDestroy(event_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  void record(Stream s) { check(cudaEventRecord(event_, s), "cudaEventRecord"); }
  void wait() { check(cudaEventSynchronize(event_), "cudaEventSynchronize"); }
  /// Work of s that comes later starts after this point.
  void hold(Stream s) { check(cudaStreamWaitEvent(s, event_, 0), "cudaStreamWaitEvent"); }

 private:
  cudaEvent_t event_{};
};

/// A point in a stream, and when it was reached.
class Timing {
 public:
  Timing() { check(cudaEventCreate(&event_), "cudaEventCreate"); }
  Timing(Timing&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  ~Timing() {
    if (event_) cudaEventDestroy(event_);
  }
  void record(Stream s) { check(cudaEventRecord(event_, s), "cudaEventRecord"); }
  /// Milliseconds from an earlier point to this one; waits for it.
  double since(const Timing& start) const {
    check(cudaEventSynchronize(event_), "cudaEventSynchronize");
    float ms = 0;
    check(cudaEventElapsedTime(&ms, start.event_, event_), "cudaEventElapsedTime");
    return static_cast<double>(ms);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// What a stream was told to do between begin and end, to be done again as a whole.
class Graph {
 public:
  Graph() = default;
  Graph(Graph&& other) noexcept : graph_(std::exchange(other.graph_, nullptr)) {}
  Graph& operator=(Graph&& other) noexcept {
    std::swap(graph_, other.graph_);
    return *this;
  }
  ~Graph() {
    if (graph_) cudaGraphExecDestroy(graph_);
  }
  explicit operator bool() const { return graph_ != nullptr; }

  static void begin(Stream s) {
    check(cudaStreamBeginCapture(s, cudaStreamCaptureModeThreadLocal), "cudaStreamBeginCapture");
  }
  static Graph end(Stream s) {
    cudaGraph_t captured = nullptr;
    check(cudaStreamEndCapture(s, &captured), "cudaStreamEndCapture");
    Graph g;
    const cudaError_t status = cudaGraphInstantiate(&g.graph_, captured, 0);
    cudaGraphDestroy(captured);
    check(status, "cudaGraphInstantiate");
    return g;
  }
  /// Ends a capture that failed.
  static void abandon(Stream s) {
    cudaGraph_t captured = nullptr;
    if (cudaStreamEndCapture(s, &captured) == cudaSuccess && captured) cudaGraphDestroy(captured);
    cudaGetLastError();
  }
  void launch(Stream s) { check(cudaGraphLaunch(graph_, s), "cudaGraphLaunch"); }

 private:
  cudaGraphExec_t graph_ = nullptr;
};

/// Blocks that a multiprocessor is to have registers for at once: Kernel::resident, or 0, the compiler's choice.
template <class Kernel>
constexpr int resident_blocks() {
  if constexpr (requires { Kernel::resident; })
    return Kernel::resident;
  else
    return 0;
}

/// The one __global__ function: runs a kernel object, which is its parameters and its code.
template <class Kernel>
__global__ void __launch_bounds__(Kernel::threads, resident_blocks<Kernel>())
    run_kernel(const __grid_constant__ Kernel kernel) {
  kernel();
}

/// Runs kernel() in every thread of `blocks` blocks of Kernel::threads threads.
/// @param shared bytes of shared memory a block
template <class Kernel>
void launch_kernel(Stream stream, index_t blocks, std::size_t shared, const Kernel& kernel) {
  if (blocks == 0) return;
  if (shared > 48 * 1024)
    check(
        cudaFuncSetAttribute(run_kernel<Kernel>, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(shared)),
        "cudaFuncSetAttribute");
  run_kernel<Kernel><<<static_cast<unsigned>(blocks), Kernel::threads, shared, stream>>>(kernel);
  check(cudaGetLastError(), "launch of a kernel");
}

}  // namespace sra::arch
