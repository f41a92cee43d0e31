// Stack memory for activations: taken in order, given back in reverse order, at deterministic addresses.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/core/poison.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace sra {

/// Where arenas, pools and stores get their big pieces from: two function pointers over a backend.
struct MemorySource {
  void* owner = nullptr;
  void* (*allocate)(void* owner, std::size_t bytes) = nullptr;
  void (*release)(void* owner, void* memory, std::size_t bytes) = nullptr;
  bool on_host = true;  ///< the host may write the memory: checked builds mark what is not in use

  /// The source that allocates from a backend with `allocate(bytes)` and `release(pointer, bytes)`.
  template <class Backend>
  static MemorySource of(Backend& backend) {
    MemorySource source{&backend, [](void* o, std::size_t n) { return static_cast<Backend*>(o)->allocate(n); },
                        [](void* o, void* p, std::size_t n) { static_cast<Backend*>(o)->release(p, n); }};
    if constexpr (requires { Backend::is_host; }) source.on_host = Backend::is_host;
    return source;
  }
};

/// One piece from a MemorySource, released when it goes.
class Memory {
 public:
  Memory() = default;
  Memory(MemorySource source, std::size_t bytes)
      : source_(source), bytes_(bytes), data_(static_cast<std::byte*>(source.allocate(source.owner, bytes))) {}
  Memory(Memory&& other) noexcept
      : source_(other.source_), bytes_(std::exchange(other.bytes_, 0)), data_(std::exchange(other.data_, nullptr)) {}
  Memory& operator=(Memory&& other) noexcept {
    std::swap(source_, other.source_);
    std::swap(bytes_, other.bytes_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~Memory() {
    if (!data_) return;
    if (source_.on_host) detail::unpoison(data_, bytes_);
    source_.release(source_.owner, data_, bytes_);
  }
  std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  MemorySource source_{};
  std::size_t bytes_ = 0;
  std::byte* data_ = nullptr;
};

/// A stack of pieces.  Grows in chunks until frozen; while planning it only counts and hands out addresses that
/// nobody may read.  Popped memory is poisoned and filled with NaN under the address sanitizer.
class Arena {
 public:
  /// A place on the stack to return to.
  struct Mark {
    std::size_t chunk = 0, top = 0;
    bool operator==(const Mark&) const = default;
  };

  explicit Arena(MemorySource source, const char* name = "arena") : source_(source), name_(name) {}

  /// Memory for `bytes` bytes, aligned to 256.  @throws FrozenError when frozen and full
  void* take(std::size_t bytes) {
    const std::size_t need = round_up(std::max<std::size_t>(bytes, 1), alignment_bytes) + detail::red_zone;
    if (planning_) return take_planned(need);
    Mark at = mark();
    std::size_t below = below_;
    for (; at.chunk < chunks_.size() && at.top + need > chunks_[at.chunk].bytes(); at = {at.chunk + 1, 0})
      below += chunks_[at.chunk].bytes();
    if (at.chunk == chunks_.size()) grow(need);  // may throw: nothing has changed yet
    std::byte* p = chunks_[at.chunk].data() + at.top;
    if (marks()) detail::hand_out(p, bytes);
    current_ = at.chunk;
    top_ = at.top + need;
    below_ = below;
    peak_ = std::max(peak_, used());
    return p;
  }

  Mark mark() const { return {current_, top_}; }

  /// Gives back everything taken since the mark.
  void pop(Mark to) {
    if (marks()) {
      for (std::size_t c = to.chunk; c < chunks_.size() && c <= current_; ++c) {
        const std::size_t from = c == to.chunk ? to.top : 0;
        const std::size_t until = c == current_ ? top_ : chunks_[c].bytes();
        if (until > from) detail::take_back(chunks_[c].data() + from, until - from);
      }
    }
    current_ = to.chunk;
    top_ = to.top;
    below_ = 0;
    for (std::size_t c = 0; c < current_ && c < chunks_.size(); ++c) below_ += chunks_[c].bytes();
  }

  /// From now on take() throws instead of allocating.
  void freeze() { frozen_ = true; }
  void thaw() { frozen_ = false; }
  bool frozen() const { return frozen_; }

  /// While on, memory is counted, from an empty stack, and not allocated.
  void plan(bool on) {
    planning_ = on;
    current_ = top_ = below_ = 0;
    peak_ = 0;
  }
  bool planning() const { return planning_; }
  /// Whether checked builds mark its memory: it is there, and the host may write it.
  bool marks() const { return !planning_ && source_.on_host; }

  /// Makes room for `bytes` bytes in one chunk; only while nothing is taken.
  void reserve(std::size_t bytes) {
    std::size_t have = 0;
    for (const Memory& chunk : chunks_) have = std::max(have, chunk.bytes());
    if (bytes <= have) return;
    chunks_.clear();
    current_ = top_ = below_ = 0;
    chunks_.emplace_back(source_, round_up(bytes, alignment_bytes));
    if (marks()) detail::take_back(chunks_[0].data(), chunks_[0].bytes());
  }

  std::size_t used() const { return below_ + top_; }
  /// Bytes that it holds of its source.
  std::size_t held() const {
    std::size_t bytes = 0;
    for (const Memory& chunk : chunks_) bytes += chunk.bytes();
    return bytes;
  }
  /// The most that was in use at any time.
  std::size_t peak() const { return peak_; }

 private:
  void* take_planned(std::size_t need) {
    std::byte* p = reinterpret_cast<std::byte*>(alignment_bytes) + top_;
    top_ += need;
    peak_ = std::max(peak_, top_);
    return p;
  }
  void grow(std::size_t need) {
    if (frozen_)
      throw FrozenError(text(name_, ": frozen with ", used(), " bytes in use, ", need,
                             " more were asked for: a step may not need more memory than the steps before it"));
    const std::size_t bytes = std::max({need, std::size_t{1} << 20, used()});
    chunks_.emplace_back(source_, round_up(bytes, alignment_bytes));
    if (marks()) detail::take_back(chunks_.back().data(), chunks_.back().bytes());
  }

  MemorySource source_;
  const char* name_;
  std::vector<Memory> chunks_;
  std::size_t current_ = 0, top_ = 0, below_ = 0, peak_ = 0;
  bool frozen_ = false, planning_ = false;
};

}  // namespace sra
