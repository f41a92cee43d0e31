// The tape: trivially copyable records in a bump arena, run newest first.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>

#include <cstddef>
#include <new>
#include <type_traits>

namespace sra {

/// Where the gradient of one traced value is, or will be.
struct Slot {
  void* data = nullptr;            ///< the gradient, once somebody asked for it
  Slot* parent = nullptr;          ///< for parts of another value: the gradient lies inside the parent's
  std::size_t offset = 0;          ///< bytes from the parent's gradient to ours
  std::size_t bytes = 0;           ///< of the gradient, padding included
  unsigned char* state = nullptr;  ///< for parameters: their ParameterState in this step
  bool filled = false;             ///< somebody has written; the next writer adds
};

/// What happened to a parameter's gradient in this step.
enum ParameterState : unsigned char { unwritten = 0, written = 1, frozen = 2 };

/// Host memory for records.
struct HostMemory {
  static void* allocate(void*, std::size_t n) { return ::operator new (n, std::align_val_t{alignment_bytes}); }
  static void release(void*, void* p, std::size_t) { ::operator delete (p, std::align_val_t{alignment_bytes}); }
  static MemorySource source() { return {nullptr, &allocate, &release}; }
};

/// Records of what was computed, in order.  A record is a lambda that captures what it keeps alive: views, slots and
/// numbers.  It is called with the context once everything newer has been called.
class Tape {
 public:
  /// A place on the tape.
  struct Record {
    Record* previous = nullptr;
    Arena::Mark activations{}, store{};
    void (*pull)(Record*, void* context) = nullptr;
  };

  /// Appends f(context).  @param activations the stack's height; the stack is popped to it before f runs
  template <class Context, class F>
  void push(Arena::Mark activations, const F& f) {
    static_assert(std::is_trivially_copyable_v<F>,
                  "record: a pullback captures only views, slots and numbers (trivially copyable)");
    struct Node : Record {
      F f;
    };
    static_assert(alignof(Node) <= alignment_bytes);
    const Record record =
        next(activations, [](Record* r, void* c) { static_cast<Node*>(r)->f(*static_cast<Context*>(c)); });
    head_ = ::new (take(sizeof(Node))) Node{record, f};
    ++size_;
  }

  /// A slot that lives until the record before it is gone.
  Slot* slot(std::size_t bytes) {
    Slot* s = ::new (take(sizeof(Slot))) Slot;
    s->bytes = bytes;
    return s;
  }

  /// Runs and drops records until `until` is the newest.
  template <class Context>
  void unwind(Context& context, Record* until = nullptr) {
    while (head_ != until) {
      Record* r = head_;
      context.workspace().activations.pop(r->activations);
      r->pull(r, &context);
      head_ = r->previous;
      --size_;
      store_.pop(r->store);
    }
  }

  /// Drops everything without running it.
  void clear() {
    head_ = nullptr;
    size_ = 0;
    store_.pop({});
  }

  Record* head() const { return head_; }
  /// Records on the tape.
  int size() const { return size_; }
  void freeze() { store_.freeze(); }
  void thaw() { store_.thaw(); }

 private:
  // Once in a program and not once per record.
  [[gnu::noinline]] Record next(Arena::Mark activations, void (*pull)(Record*, void*)) const {
    return {head_, activations, store_.mark(), pull};
  }
  [[gnu::noinline]] void* take(std::size_t bytes) { return store_.take(bytes); }

  Arena store_{HostMemory::source(), "tape"};
  Record* head_ = nullptr;
  int size_ = 0;
};

}  // namespace sra
