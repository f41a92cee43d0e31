// A source of memory that counts what is taken from it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>

#include <cstddef>
#include <new>

/// Host memory; `pieces` and `bytes` are what is out now, `taken` counts all pieces ever.
struct CountingSource {
  std::size_t pieces = 0, bytes = 0, taken = 0;

  void* allocate(std::size_t n) {
    void* p = ::operator new (n, std::align_val_t{sra::alignment_bytes});
    ++pieces, ++taken;
    bytes += n;
    return p;
  }
  void release(void* p, std::size_t n) {
    ::operator delete (p, std::align_val_t{sra::alignment_bytes});
    --pieces;
    bytes -= n;
  }
};
