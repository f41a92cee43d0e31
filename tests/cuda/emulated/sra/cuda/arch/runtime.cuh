// The arch header of this name on the host: device memory is host memory, streams do everything at once.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cuda/arch/device.cuh>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra::arch {

namespace emulated {

/// What a stream does, or while it is captured: what it will do when the graph is launched.
struct Queue {
  bool captured = false;
  std::vector<std::function<void()>> work;
  void add(std::function<void()> f) { captured ? work.push_back(std::move(f)) : f(); }
};

/// Bytes that allocate() may still hand out; tests lower it.
inline std::size_t& memory_left() {
  static std::size_t bytes = std::size_t{4} << 30;
  return bytes;
}

}  // namespace emulated

using Stream = emulated::Queue*;

inline int device_count() { return 1; }
struct Device {
  std::string name;
  int multiprocessors = 0;
  std::size_t shared_memory = 0;
  std::size_t memory = 0, free = 0;
};
inline Device device(int) { return {"emulated", 2, 227 << 10, std::size_t{4} << 30, emulated::memory_left()}; }
inline void choose_device(int number) {
  if (number != 0) throw Error("Cuda: cudaSetDevice: cudaErrorInvalidDevice: invalid device ordinal");
}

inline void* allocate(std::size_t bytes) {
  if (bytes > emulated::memory_left()) return nullptr;
  void* p = ::operator new (bytes, std::align_val_t{256});
  std::memset(p, 0xff, bytes);
  return p;
}
inline void release(void* p) { ::operator delete (p, std::align_val_t{256}); }
inline void* allocate_pinned(std::size_t bytes) { return allocate(bytes); }
inline void release_pinned(void* p) { release(p); }
inline void* allocate_managed(std::size_t bytes) { return allocate(bytes); }

inline Stream make_stream() { return new emulated::Queue; }
inline void release(Stream s) { delete s; }
inline void wait(Stream s) {
  if (s->captured)
    throw Error("Cuda: cudaStreamSynchronize: cudaErrorStreamCaptureUnsupported: a stream that is captured");
}

inline void copy(void* to, const void* from, std::size_t bytes, Stream s) {
  s->add([=] { std::memcpy(to, from, bytes); });
}
inline void zero(void* to, std::size_t bytes, Stream s) {
  s->add([=] { std::memset(to, 0, bytes); });
}

class Event {
 public:
  void record(Stream) {}
  void wait() {}
  void hold(Stream) {}
};

class Timing {
 public:
  void record(Stream) { at_ = std::chrono::steady_clock::now(); }
  double since(const Timing& start) const { return std::chrono::duration<double, std::milli>(at_ - start.at_).count(); }

 private:
  std::chrono::steady_clock::time_point at_{};
};

class Graph {
 public:
  explicit operator bool() const { return !work_.empty(); }
  static void begin(Stream s) { s->captured = true; }
  static Graph end(Stream s) {
    Graph g;
    g.work_ = std::move(s->work);
    abandon(s);
    return g;
  }
  static void abandon(Stream s) {
    s->captured = false;
    s->work.clear();
  }
  void launch(Stream s) {
    for (auto& f : work_) s->add(f);
  }

 private:
  std::vector<std::function<void()>> work_;
};

template <class Kernel>
void launch_kernel(Stream stream, index_t blocks, std::size_t shared, const Kernel& kernel) {
  static_assert(std::is_trivially_copyable_v<Kernel>, "a kernel is passed by value");
  static_assert(sizeof(Kernel) <= 4096, "parameters of a kernel: at most 4 KB");
  static_assert(Kernel::threads > 0 && Kernel::threads <= 1024);
  if (shared > (227 << 10)) throw Error("launch of a kernel: more shared memory than a block has");
  if (blocks > 0x7fffffff) throw Error("launch of a kernel: more blocks than a grid has");
  stream->add([=] {
    for (index_t b = 0; b < blocks; ++b) {
      emulated::Block block(b, blocks, Kernel::threads, shared);
      if constexpr (requires { Kernel::threads_are_independent; })
        block.run_in_order(kernel);
      else
        block.run(kernel);
    }
  });
}

}  // namespace sra::arch
