// What a thread of the emulated GPU keeps its variables in.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>

#include <sys/mman.h>

#include <cstddef>

namespace sra::arch::emulated {

/// A stack of its own with a page behind it that nobody may touch.
class Stack {
 public:
  Stack() : data_(static_cast<std::byte*>(mmap(nullptr, bytes + page, PROT_READ | PROT_WRITE, flags, -1, 0))) {
    if (data_ == MAP_FAILED || mprotect(data_, page, PROT_NONE)) throw Error("emulated block: no memory for stacks");
  }
  Stack(const Stack&) = delete;
  ~Stack() { munmap(data_, bytes + page); }
  std::byte* bottom() const { return data_ + page; }

  static constexpr std::size_t bytes = 256 << 10;

 private:
  static constexpr std::size_t page = 4096;
  static constexpr int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
  std::byte* data_;
};

}  // namespace sra::arch::emulated
