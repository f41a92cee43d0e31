// A backend whose memory the host cannot touch, nor its kernels the host's inputs: an access that should not be ends the process.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>
#include <vector>

namespace far {

/// Pages that are taken piece by piece, never given back, and opened and closed together.
class Pages {
 public:
  /// @param open at first
  explicit Pages(bool open) : open_(open) {
    void* p = ::mmap(nullptr, most, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) throw std::bad_alloc();
    data_ = static_cast<std::byte*>(p);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  ~Pages() { ::munmap(data_, most); }

  void* take(std::size_t bytes) {
    std::byte* p = data_ + used_;
    used_ += sra::round_up(std::max<std::size_t>(bytes, 1), sra::alignment_bytes);
    if (used_ > most) throw std::bad_alloc();
    protect();
    return p;
  }
  /// A copy of x.
  template <class T>
  T* keep(const std::vector<T>& x) {
    return static_cast<T*>(std::memcpy(take(x.size() * sizeof(T)), x.data(), x.size() * sizeof(T)));
  }

  bool open() const { return open_; }
  void set(bool open) {
    open_ = open;
    protect();
  }

 private:
  static constexpr std::size_t most = std::size_t{1} << 30;
  void protect() {
    const std::size_t bytes = sra::round_up(used_, static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)));
    if (bytes > 0 && ::mprotect(data_, bytes, open_ ? PROT_READ | PROT_WRITE : PROT_NONE) != 0) throw std::bad_alloc();
  }

  std::byte* data_ = nullptr;
  std::size_t used_ = 0;
  bool open_;
};

/// Pages as they should be for the time of a scope.
class As {
 public:
  As(Pages& pages, bool open) : pages_(pages), before_(pages.open()) { pages_.set(open); }
  As(const As&) = delete;
  As& operator=(const As&) = delete;
  ~As() { pages_.set(before_); }

 private:
  Pages& pages_;
  bool before_;
};

/// The CPU's kernels over memory that is closed outside launches, upload, download and zero.
class Far : public sra::Cpu {
 public:
  static constexpr bool is_host = false;

  explicit Far(options_type options = {}) : Cpu(options) {}

  /// Filled with NaN.
  void* allocate(std::size_t bytes) {
    const As open(memory_, true);
    return std::memset(memory_.take(bytes), 0xff, bytes);
  }
  void release(void*, std::size_t) {}
  void upload(void* to, const void* from, std::size_t bytes) {
    const As open(memory_, true);
    Cpu::upload(to, from, bytes);
  }
  void download(void* to, const void* from, std::size_t bytes) {
    const As open(memory_, true);
    Cpu::download(to, from, bytes);
  }
  void zero(void* p, std::size_t bytes) {
    const As open(memory_, true);
    Cpu::zero(p, bytes);
  }

  Pages& memory() { return memory_; }
  /// Memory of the host, which is closed while kernels run, but for copies between it and the backend.
  Pages& inputs() { return inputs_; }

 private:
  Pages memory_{false}, inputs_{true};
};

/// The same with the choices of a GPU: a residual stream of the context's type, samplers in float.
class Narrow : public Far {
 public:
  static constexpr bool wide_residual = false;
  using sampler_type = float;
  using Far::Far;
};

/// The door to the kernels of these two: opens the one memory and closes the other.
template <sra::ContextOn<Far> Context, class Kernel>
void launch(Context& context, const char* name, sra::Cost, Kernel&& kernel) {
  if (context.planning()) return;
  auto& backend = context.backend();
  const std::string_view which = name;
  const bool copies = which == "copy_from_host" || which == "copy_to_host";
  const As open(backend.memory(), true), closed(backend.inputs(), copies);
  std::forward<Kernel>(kernel)(backend);
}

}  // namespace far
