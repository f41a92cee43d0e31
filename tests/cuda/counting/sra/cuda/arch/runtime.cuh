// The arch header of this name for counting: nothing runs, what would be started is counted, memory is addresses alone.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/cuda/arch/device.cuh>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string>
#include <type_traits>

namespace sra::arch {

namespace counting {

/// What a stream was told to start, by kind.
struct Started {
  long kernels = 0, products = 0, copies = 0, zeros = 0;

  long all() const { return kernels + products + copies + zeros; }
  Started& operator+=(const Started& x) {
    kernels += x.kernels, products += x.products, copies += x.copies, zeros += x.zeros;
    return *this;
  }
  Started& operator-=(const Started& x) {
    kernels -= x.kernels, products -= x.products, copies -= x.copies, zeros -= x.zeros;
    return *this;
  }
};

/// A stream: what was started in it, and apart from that what it was told while it was captured.
struct Queue {
  bool captured = false;
  Started now, in_graph;

  Started& started() { return captured ? in_graph : now; }
  /// A matrix product; f would run it.
  template <class F>
  void add(const F&) {
    ++started().products;
  }
};

}  // namespace counting

using Stream = counting::Queue*;

inline int device_count() { return 1; }
struct Device {
  std::string name;
  int multiprocessors = 0;
  std::size_t shared_memory = 0;
  std::size_t memory = 0, free = 0;
};
/// Sizes of a device of compute capability 9.0; how rows are cut into blocks does not depend on them.
inline Device device(int) { return {"counted", 132, 227 << 10, std::size_t{1} << 40, std::size_t{1} << 40}; }
inline void choose_device(int) {}

/// An address that no other piece has and nobody may read.
inline void* allocate(std::size_t bytes) {
  static std::uintptr_t next = alignment_bytes;
  const std::uintptr_t p = next;
  next += round_up(bytes, alignment_bytes);
  return reinterpret_cast<void*>(p);
}
inline void release(void*) {}
/// The host writes to it and reads from it, so it is there.
inline void* allocate_pinned(std::size_t bytes) {
  return std::memset(::operator new (bytes, std::align_val_t{alignment_bytes}), 0, bytes);
}
inline void release_pinned(void* p) { ::operator delete (p, std::align_val_t{alignment_bytes}); }
inline void* allocate_managed(std::size_t bytes) { return allocate(bytes); }

inline Stream make_stream() { return new counting::Queue; }
inline void release(Stream s) { delete s; }
inline void wait(Stream) {}

inline void copy(void*, const void*, std::size_t, Stream s) { ++s->started().copies; }
inline void zero(void*, std::size_t, Stream s) { ++s->started().zeros; }

class Event {
 public:
  void record(Stream) {}
  void wait() {}
  void hold(Stream) {}
};

/// Nothing runs, so that no time passes.
class Timing {
 public:
  void record(Stream) {}
  double since(const Timing&) const { return 0; }
};

class Graph {
 public:
  explicit operator bool() const { return nodes_.all() > 0; }
  static void begin(Stream s) { s->captured = true; }
  static Graph end(Stream s) {
    Graph g;
    g.nodes_ = s->in_graph;
    abandon(s);
    return g;
  }
  static void abandon(Stream s) {
    s->captured = false;
    s->in_graph = {};
  }
  /// Counts as all that is in it.
  void launch(Stream s) { s->now += nodes_; }

 private:
  counting::Started nodes_;
};

template <class Kernel>
void launch_kernel(Stream stream, index_t blocks, std::size_t, const Kernel&) {
  static_assert(std::is_trivially_copyable_v<Kernel>, "a kernel is passed by value");
  stream->started().kernels += blocks > 0;
}

}  // namespace sra::arch
