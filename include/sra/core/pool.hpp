// Memory for gradients: pieces of a few sizes that come back in any order and are used again.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>

#include <cstddef>
#include <vector>

namespace sra {

/// Pieces of exact sizes over an arena that only grows.  A released piece serves the next request of its size, newest
/// first, so that addresses are the same in every step.
class Pool {
 public:
  explicit Pool(MemorySource source, const char* name = "gradient pool") : arena_(source, name) {}

  /// A piece of at least `bytes` bytes.  @throws FrozenError when frozen and no free piece has this size
  void* take(std::size_t bytes) {
    const std::size_t size = round_up(bytes > 0 ? bytes : 1, alignment_bytes);
    for (std::size_t i = pieces_.size(); i-- > 0;) {
      if (pieces_[i].bytes != size || pieces_[i].used) continue;
      pieces_[i].used = true;
      if (arena_.marks()) detail::hand_out(pieces_[i].data, size);
      return pieces_[i].data;
    }
    void* p = arena_.take(size);
    pieces_.push_back({p, size, true});
    return p;
  }

  /// Gives a piece back.
  void release(void* p) {
    for (Piece& piece : pieces_) {
      if (piece.data != p || !piece.used) continue;
      piece.used = false;
      if (arena_.marks()) detail::take_back(p, piece.bytes);
      return;
    }
    throw Error("gradient pool: a piece was released that is not in use");
  }

  /// Gives everything back: the roll-back of a step.
  void release_all() {
    for (Piece& piece : pieces_)
      if (piece.used) {
        piece.used = false;
        if (arena_.marks()) detail::take_back(piece.data, piece.bytes);
      }
  }

  void freeze() { arena_.freeze(); }
  void thaw() { arena_.thaw(); }
  /// Counting mode, as in Arena; forgets all pieces.
  void plan(bool on) {
    pieces_.clear();
    arena_.plan(on);
  }
  void reserve(std::size_t bytes) {
    if (pieces_.empty()) arena_.reserve(bytes);
  }
  std::size_t peak() const { return arena_.peak(); }
  /// Bytes that it holds of its source.
  std::size_t held() const { return arena_.held(); }
  /// Pieces that are in use now.
  std::size_t live() const {
    std::size_t n = 0;
    for (const Piece& piece : pieces_) n += piece.used;
    return n;
  }

 private:
  struct Piece {
    void* data;
    std::size_t bytes;
    bool used;
  };
  Arena arena_;
  std::vector<Piece> pieces_;
};

}  // namespace sra
