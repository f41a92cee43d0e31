// The arch header of this name on the host: device memory is host memory; streams do everything at once, or as late as they may.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/cuda/arch/device.cuh>

#include <chrono>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra::arch {

namespace emulated {

/// Whether streams put work off until somebody waits for it; tests set it to find who does not wait.
inline bool& puts_off() {
  static bool on = false;
  return on;
}

/// What was asked for; tests read it.
struct Counts {
  long graphs = 0;    ///< launched
  long captures = 0;  ///< ended
  long kernels = 0;   ///< launched outside graphs, copies apart
  long waits = 0;     ///< for a stream
};
inline Counts& counts() {
  static Counts c;
  return c;
}

/// What a stream does, or while it is captured: what it will do when the graph is launched.
struct Queue {
  bool captured = false;
  /// Does its work at once though others put theirs off; tests set it to find who comes too early.
  bool at_once = false;
  std::vector<std::function<void()>> work;
  std::deque<std::function<void()>> later;  ///< put off
  long begun = 0;                           ///< pieces of work that were taken from `later`

  void add(std::function<void()> f) {
    if (captured)
      work.push_back(std::move(f));
    else if (puts_off() && !at_once)
      later.push_back(std::move(f));
    else
      run(), f();
  }
  /// The number of pieces that were ever put off.
  long last() const { return begun + static_cast<long>(later.size()); }
  void run() { run_until(last()); }
  void run_until(long end) {
    while (begun < end) {
      const auto f = std::move(later.front());
      later.pop_front();
      ++begun;
      f();
    }
  }
};

/// Streams, and memory that copies may read late, by its end; everything else is the host's own.
inline std::set<Queue*>& queues() {
  static std::set<Queue*> all;
  return all;
}
inline std::map<const std::byte*, const std::byte*>& pieces() {
  static std::map<const std::byte*, const std::byte*> all;
  return all;
}
inline bool known(const void* p) {
  const auto* at = static_cast<const std::byte*>(p);
  const auto next = pieces().upper_bound(at);
  return next != pieces().end() && next->second <= at;
}
inline void run_everything() {
  for (Queue* q : queues()) q->run();
}

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
  const auto* first = static_cast<const std::byte*>(p);
  emulated::pieces()[first + bytes] = first;
  return p;
}
inline void release(void* p) {
  emulated::run_everything();
  std::erase_if(emulated::pieces(), [=](const auto& piece) { return piece.second == p; });
  ::operator delete (p, std::align_val_t{256});
}
inline void* allocate_pinned(std::size_t bytes) { return allocate(bytes); }
inline void release_pinned(void* p) { release(p); }
inline void* allocate_managed(std::size_t bytes) { return allocate(bytes); }

inline Stream make_stream() { return *emulated::queues().insert(new emulated::Queue).first; }
inline void release(Stream s) {
  s->run();
  emulated::queues().erase(s);
  delete s;
}
inline void wait(Stream s) {
  if (s->captured)
    throw Error("Cuda: cudaStreamSynchronize: cudaErrorStreamCaptureUnsupported: a stream that is captured");
  ++emulated::counts().waits;
  s->run();
}

/// The host's own memory, which is not pinned, is read before the call returns, and written, too.
inline void copy(void* to, const void* from, std::size_t bytes, Stream s) {
  const bool own = !emulated::known(from) || !emulated::known(to);
  if (own && s->captured) throw Error("Cuda: cudaMemcpyAsync: a captured copy of memory that is not pinned");
  if (own) s->run();
  own ? void(std::memcpy(to, from, bytes)) : s->add([=] { std::memcpy(to, from, bytes); });
}
inline void zero(void* to, std::size_t bytes, Stream s) {
  s->add([=] { std::memset(to, 0, bytes); });
}

class Event {
 public:
  void record(Stream s) { stream_ = s, at_ = s->last(); }
  void wait() {
    if (stream_) stream_->run_until(at_);
  }
  void hold(Stream s) {
    if (!stream_) return;
    s->add([from = stream_, at = at_] {
      if (emulated::queues().contains(from)) from->run_until(at);  // else it was released, and is done
    });
  }

 private:
  Stream stream_ = nullptr;
  long at_ = 0;
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
    ++emulated::counts().captures;
    return g;
  }
  static void abandon(Stream s) {
    s->captured = false;
    s->work.clear();
  }
  void launch(Stream s) {
    ++emulated::counts().graphs;
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
  emulated::counts().kernels += !stream->captured;
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
