// Runs a block of a kernel on the host: every thread is a fiber, which goes on when those it waits for have arrived.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/cuda/arch/sanitizers.hpp>
#include <sra/cuda/arch/stack.hpp>

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <memory>
#include <utility>
#include <vector>

namespace sra::arch::emulated {

/// One block.  Threads run in turns until each arrives at a barrier, or at an exchange of its warp, or ends.  Under the
/// thread sanitizer only barriers order what threads do, so that a missing one is reported as a race; threads of different
/// blocks are never ordered.  What cannot go on is an Error: threads that end while others wait for them, lanes of one warp
/// that wait for different things.
class Block {
 public:
  Block(index_t number, index_t blocks, int threads, std::size_t shared)
      : number_(number),
        blocks_(blocks),
        shared_(new (std::align_val_t{128}) std::byte[shared + 1]),
        shared_bytes_(shared),
        fibers_(static_cast<std::size_t>(threads)),
        warps_(parts(warp)),
        warpgroups_(parts(warpgroup)) {
    block_.all = threads;
    std::memset(shared_.get(), 0xff, shared_bytes_);
  }

  /// Runs body() in every thread.
  template <class Body>
  void run(const Body& body) {
    const Unwatched unwatched;
    Block* const outer = current();
    current() = this;
    release_order(&begin_);
#if defined(__SANITIZE_THREAD__)
    product_sanitizer_ = __tsan_create_fiber(0);
#endif
    body_ = &body;
    call_ = [](const void* b) { (*static_cast<const Body*>(b))(); };
    for (std::size_t i = 0; i < fibers_.size(); ++i) start(i);
    while (left_ > 0) {
      bool moved = false;
      for (std::size_t i = 0; i < fibers_.size() && !failure_; ++i) {
        if (fibers_[i].ended || !may_go_on(i)) continue;
        moved = true;
        now_ = i;
        enter(fibers_[i]);
      }
      if (failure_ || !moved) break;
    }
    cancelled_ = true;
    for (now_ = 0; now_ < fibers_.size(); ++now_)
      if (const std::size_t left = left_; !fibers_[now_].ended) {
        enter(fibers_[now_]);  // unwinds its stack
        waiting_ += left_ < left;
      }
    acquire_order(&end_);
    for (Fiber& f : fibers_) finish(f);
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(product_sanitizer_);
#endif
    current() = outer;
    if (failure_) std::rethrow_exception(failure_);
    if (waiting_ > 0) throw Error(text("emulated block: ", waiting_, " threads wait for others that never arrive"));
  }

  /// Runs body() thread after thread, without fibers: for kernels that say that their threads never wait for each other.
  template <class Body>
  void run_in_order(const Body& body) {
    struct Return {
      Block* outer = current();
      ~Return() { current() = outer; }
    } const back;
    current() = this;
    in_order_ = true;
    for (now_ = 0; now_ < fibers_.size(); ++now_) body();
  }

  static Block*& current() {
    static thread_local Block* block = nullptr;
    return block;
  }

  int thread() const { return static_cast<int>(now_); }
  int threads() const { return static_cast<int>(fibers_.size()); }
  index_t number() const { return number_; }
  index_t blocks() const { return blocks_; }
  std::byte* shared() const { return shared_.get(); }
  std::size_t shared_bytes() const { return shared_bytes_; }

  /// All threads of the block.
  void barrier() {
    const Unwatched unwatched;
    if (in_order_) fail("emulated block: a thread waits in a kernel that says that its threads never do");
    arrive(block_);
    leave(block_);
  }
  /// The lanes of the warp.  @param what they do, which must be the same
  void warp_barrier(int what = 0) {
    const Unwatched unwatched;
    Meeting& m = meeting_of(warp, what);
    arrive(m);
    leave(m);
  }
  /// Threads that give things to each other: lanes of a warp, or warps of a warpgroup, who are not ordered by it.
  struct Circle {
    std::size_t size, slot;
    const char *few, *different;
  };
  static constexpr Circle warp{32, 0, "emulated block: a warp of fewer than 32 lanes exchanges",
                               "emulated block: lanes of one warp wait for different things"};
  static constexpr Circle warpgroup{128, 1, "emulated block: a warpgroup of fewer than four warps multiplies",
                                    "emulated block: warps of one warpgroup wait for different things"};
  /// Hands x to the others and waits until all have: then get(i) is what number i of them gave.
  template <class T>
  auto meet(const T& x, int what, const Circle& circle = warp) {
    static_assert(sizeof(T) <= slot_bytes);
    const Unwatched unwatched;
    Fiber& me = fibers_[now_];
    bool& which = me.odd[circle.slot];
    which = !which;  // two slots: nobody gives twice before all have taken
    std::memcpy(me.slot[circle.slot][which], &x, sizeof x);
    const bool odd = which;
    Meeting& m = meeting_of(circle, what);
    arrive(m);
    leave(m);
    const std::size_t first = now_ / circle.size * circle.size, slot = circle.slot;
    return [this, first, odd, slot](int i) {
      const Unwatched quiet;
      T y;
      std::memcpy(&y, fibers_[first + static_cast<std::size_t>(i)].slot[slot][odd], sizeof y);
      return y;
    };
  }

  /// A default-constructed A of this thread, for as long as it runs, and one of the block.
  template <class A>
  A& attachment() {
    return attached<A>(fibers_[now_].attachments);
  }
  template <class A>
  A& common_attachment() {
    return attached<A>(attachments_);
  }

  /// Under the thread sanitizer, reads 16 `pieces` bytes: in this thread, and by the way that products read, which knows
  /// only what threads have published.
  void watch_product([[maybe_unused]] const std::byte* at, [[maybe_unused]] int pieces) {
#if defined(__SANITIZE_THREAD__)
    for (int i = 0; i < pieces; ++i) __tsan_read16(const_cast<std::byte*>(at) + 16 * i);
    read_as_product(product_sanitizer_, &published_, &read_, at, pieces);
#endif
  }
  /// What this thread did so far is known to products; what products have read is known to this thread.
  void publish() { release_order(&published_); }
  void know_products() { acquire_order(&read_); }

  [[noreturn]] void fail(const char* sentence) { throw Error(sentence); }

 private:
  static constexpr std::size_t slot_bytes = 64;

  using Attachments = std::vector<std::pair<const void*, std::shared_ptr<void>>>;
  template <class A>
  static constexpr char key_of = 0;
  template <class A>
  static A& attached(Attachments& all) {
    const Unwatched unwatched;
    for (auto& [key, a] : all)
      if (key == &key_of<A>) return *static_cast<A*>(a.get());
    all.emplace_back(&key_of<A>, std::make_shared<A>());
    return *static_cast<A*>(all.back().second.get());
  }

  /// Threads that wait for each other; the n-th time all have arrived ends wait n.
  struct Meeting {
    index_t arrived = 0, all = 1;
    int what = 0;
    bool orders = true;
    char order = 0;  ///< what the thread sanitizer sees released and acquired
  };
  std::vector<Meeting> parts(const Circle& circle) const {
    std::vector<Meeting> all((fibers_.size() + circle.size - 1) / circle.size);
    for (std::size_t i = 0; i < all.size(); ++i) {
      all[i].all = static_cast<index_t>(std::min(circle.size, fibers_.size() - i * circle.size));
      all[i].orders = circle.slot == warp.slot;
    }
    return all;
  }
  Meeting& meeting_of(const Circle& circle, int what) {
    if (in_order_) fail("emulated block: a lane waits in a kernel that says that its threads never do");
    Meeting& m = (circle.slot == warp.slot ? warps_ : warpgroups_)[now_ / circle.size];
    if (m.all != static_cast<index_t>(circle.size)) fail(circle.few);
    if (m.arrived % m.all != 0 && m.what != what) fail(circle.different);
    m.what = what;
    return m;
  }
  struct Fiber {
    std::unique_ptr<Stack> stack;
    ucontext_t context{};
    jmp_buf place;
    Meeting* waits = nullptr;
    index_t until = 0;  ///< arrivals after which it goes on
    bool started = false, ended = false, odd[2] = {};
    alignas(16) std::byte slot[2][2][slot_bytes];
    void* sanitizer = nullptr;
    Attachments attachments;
  };
  struct Cancelled {};  ///< what ends a thread of a block that cannot go on
  struct Free {
    void operator()(std::byte* p) const { operator delete[](p, std::align_val_t{128}); }
  };

  void arrive(Meeting& m) {
    if (m.orders) release_order(&m.order);
    Fiber& me = fibers_[now_];
    me.waits = &m;
    me.until = (m.arrived / m.all + 1) * m.all;
    ++m.arrived;
    yield(me);
    if (cancelled_) throw Cancelled{};
  }
  void leave(Meeting& m) {
    fibers_[now_].waits = nullptr;
    if (m.orders) acquire_order(&m.order);
  }
  bool may_go_on(std::size_t i) const { return !fibers_[i].waits || fibers_[i].waits->arrived >= fibers_[i].until; }

  void start(std::size_t i) {
    Fiber& f = fibers_[i];
    f.stack = take_stack();
    getcontext(&f.context);
    f.context.uc_stack.ss_sp = f.stack->bottom();
    f.context.uc_stack.ss_size = Stack::bytes;
    f.context.uc_link = nullptr;
    makecontext(&f.context, &Block::main, 0);
#if defined(__SANITIZE_THREAD__)
    f.sanitizer = __tsan_create_fiber(0);
#endif
    ++left_;
  }
  static void main() {
    Block* const block = current();
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(nullptr, &block->main_bottom_, &block->main_bytes_);
#endif
    acquire_order(&block->begin_);
    try {
      if (!block->cancelled_) block->call_(block->body_);
    } catch (const Cancelled&) {
    } catch (...) {
      block->failure_ = std::current_exception();
    }
    block->yield(block->end_of_this(), true);
  }

  Fiber& end_of_this() {
    const Unwatched unwatched;  // not beyond the fiber's last step
    Fiber& me = fibers_[now_];
    me.ended = true;
    --left_;
    return me;
  }

  void enter(Fiber& f) {
#if defined(__SANITIZE_THREAD__)
    main_sanitizer_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(f.sanitizer, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(&main_fake_, f.stack->bottom(), Stack::bytes);
#endif
    go_in(f);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(main_fake_, nullptr, nullptr);
#endif
  }
  void yield(Fiber& me, [[maybe_unused]] bool last = false) {
#if defined(__SANITIZE_THREAD__)
    void* const main = main_sanitizer_;
    if (last) release_order(&end_);
    __tsan_switch_to_fiber(main, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__SANITIZE_ADDRESS__)
    void* fake = nullptr;
    __sanitizer_start_switch_fiber(last ? nullptr : &fake, main_bottom_, main_bytes_);
#endif
    go_out(me);
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(fake, &main_bottom_, &main_bytes_);
#endif
  }
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
  void go_in(Fiber& f) { swapcontext(&main_, &f.context); }
  void go_out(Fiber& me) { swapcontext(&me.context, &main_); }
#else
  // A context keeps the mask of signals, by a call of the system at every change; a jump does not, but cannot begin on a stack.
  void go_in(Fiber& f) {
    if (_setjmp(main_place_) != 0) return;
    if (f.started) _longjmp(f.place, 1);
    f.started = true;
    setcontext(&f.context);
  }
  void go_out(Fiber& me) {
    if (_setjmp(me.place) == 0) _longjmp(main_place_, 1);
  }
#endif
  void finish(Fiber& f) {
#if defined(__SANITIZE_THREAD__)
    __tsan_destroy_fiber(f.sanitizer);
#endif
    free_stacks().push_back(std::move(f.stack));
  }

  static void release_order([[maybe_unused]] char* at) {
#if defined(__SANITIZE_THREAD__)
    __tsan_release(at);
#endif
  }
  static void acquire_order([[maybe_unused]] char* at) {
#if defined(__SANITIZE_THREAD__)
    __tsan_acquire(at);
#endif
  }

#if defined(__SANITIZE_THREAD__)
  /// Not instrumented: what it reads itself, on the stack of the thread, does not count.
  [[gnu::no_sanitize("thread"), gnu::noinline]] static void read_as_product(void* sanitizer, char* published,
                                                                            char* read, const std::byte* at,
                                                                            int pieces) {
    void* const me = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(sanitizer, __tsan_switch_to_fiber_no_sync);
    __tsan_acquire(published);
    for (int i = 0; i < pieces; ++i) __tsan_read16(const_cast<std::byte*>(at) + 16 * i);
    __tsan_release(read);
    __tsan_switch_to_fiber(me, __tsan_switch_to_fiber_no_sync);
  }
#endif
  static std::vector<std::unique_ptr<Stack>>& free_stacks() {
    static thread_local std::vector<std::unique_ptr<Stack>> all;
    return all;
  }
  static std::unique_ptr<Stack> take_stack() {
    auto& all = free_stacks();
    if (all.empty()) return std::make_unique<Stack>();
    auto stack = std::move(all.back());
    all.pop_back();
    return stack;
  }

  index_t number_, blocks_;
  std::unique_ptr<std::byte[], Free> shared_;
  std::size_t shared_bytes_;
  std::vector<Fiber> fibers_;
  std::vector<Meeting> warps_, warpgroups_;
  Meeting block_;
  Attachments attachments_;
  std::size_t now_ = 0, left_ = 0, waiting_ = 0;
  bool in_order_ = false, cancelled_ = false;
  const void* body_ = nullptr;
  void (*call_)(const void*) = nullptr;
  std::exception_ptr failure_;
  jmp_buf main_place_;
  ucontext_t main_{};
  char begin_ = 0, end_ = 0, published_ = 0, read_ = 0;  ///< what the thread sanitizer sees released and acquired
  [[maybe_unused]] void* main_sanitizer_ = nullptr;
  [[maybe_unused]] void* product_sanitizer_ = nullptr;
  [[maybe_unused]] void* main_fake_ = nullptr;
  const void* main_bottom_ = nullptr;
  std::size_t main_bytes_ = 0;
};

}  // namespace sra::arch::emulated
