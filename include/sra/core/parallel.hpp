// The threads of parallel loops.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#ifdef __linux__
#include <sched.h>
#endif

namespace sra {

/// A fixed set of workers that share out the items of one loop at a time; the calling thread is worker 0.
/// Which worker gets which item is not fixed, so an item must not depend on it.  One object belongs to one thread.
class Threads {
 public:
  /// @param count workers including the caller; 0 = the cores that this process may run on
  explicit Threads(int count = 0) {
    if (count < 0) throw Error(text("Threads: expected a count >= 0, got ", count));
    size_ = count ? count : available_cores();
    counters_ = std::make_unique<Counter[]>(static_cast<std::size_t>(size_));
    workers_.reserve(static_cast<std::size_t>(size_ - 1));
    try {
      for (int i = 1; i < size_; ++i) workers_.emplace_back([this, i] { serve(i); });
    } catch (...) {
      stop();
      throw Error(text("Threads: expected to start ", size_ - 1, " threads, got ", workers_.size()));
    }
  }
  ~Threads() { stop(); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int size() const { return size_; }

  /// How many items this worker has processed since construction.
  index_t worked_on(int worker) const {
    return counters_[static_cast<std::size_t>(worker)].items.load(std::memory_order_relaxed);
  }

  /// Calls f(index_t i, int worker) once for each i in [0, n), on any worker, and returns when all calls have.
  /// Never allocates.  If calls throw, no further items are begun and one of the exceptions is rethrown here.
  /// A call from within f runs in place, one item after the other.
  template <class F>
  void for_each(index_t n, F&& f) {
    using Function = std::remove_reference_t<F>;
    for_each(
        n, [](void* context, index_t i, int worker) { (*static_cast<Function*>(context))(i, worker); },
        const_cast<void*>(static_cast<const void*>(std::addressof(f))));
  }

  /// The same with a function and its first argument.
  void for_each(index_t n, void (*f)(void* context, index_t i, int worker), void* context) {
    if (n <= 0) return;
    if (n == 1 || size_ == 1 || busy_.load(std::memory_order_relaxed)) {
      const int worker = self();
      for (index_t i = 0; i < n; ++i) f(context, i, worker);
      counters_[static_cast<std::size_t>(worker)].items.fetch_add(n, std::memory_order_relaxed);
      return;
    }
    run({f, context, n});
  }

 private:
  struct Job {
    void (*call)(void* context, index_t i, int worker) = nullptr;
    void* context = nullptr;
    index_t items = 0;
  };
  struct alignas(64) Counter {
    std::atomic<index_t> items{0};
  };
  static constexpr int spins = 2000;
  static constexpr unsigned open = 1, one_active = 2;  // of state_: a job may be joined; workers that have joined

  static int available_cores() {
#ifdef __linux__
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) return CPU_COUNT(&set);
#endif
    return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  }

  static void pause() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
  }

  /// The worker that calls: found by its thread, so that nested loops keep their worker's number.
  int self() const {
    const auto id = std::this_thread::get_id();
    for (std::size_t i = 0; i < workers_.size(); ++i)
      if (workers_[i].get_id() == id) return static_cast<int>(i) + 1;
    return 0;
  }

  void run(Job job) {
    busy_.store(true, std::memory_order_relaxed);
    job_ = job;
    error_ = nullptr;
    next_.store(0, std::memory_order_relaxed);
    state_.store(open, std::memory_order_release);
    {
      const std::lock_guard lock(mutex_);
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    work(0);
    // Whoever has not joined by now need not: all items are taken.
    state_.fetch_and(~open, std::memory_order_acq_rel);
    for (int i = 0; i < spins && state_.load(std::memory_order_acquire) != 0; ++i) pause();
    if (state_.load(std::memory_order_acquire) != 0) {
      std::unique_lock lock(mutex_);
      done_.wait(lock, [&] { return state_.load(std::memory_order_acquire) == 0; });
    }
    busy_.store(false, std::memory_order_relaxed);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

  void work(int worker) {
    index_t count = 0;
    try {
      for (index_t i; (i = next_.fetch_add(1, std::memory_order_relaxed)) < job_.items; ++count)
        job_.call(job_.context, i, worker);
    } catch (...) {
      next_.store(job_.items, std::memory_order_relaxed);
      const std::lock_guard lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
    counters_[static_cast<std::size_t>(worker)].items.fetch_add(count, std::memory_order_relaxed);
  }

  bool join() {
    unsigned state = state_.load(std::memory_order_relaxed);
    while (state & open)
      if (state_.compare_exchange_weak(state, state + one_active, std::memory_order_acq_rel)) return true;
    return false;
  }

  void serve(int worker) {
    for (unsigned seen = 0;;) {
      for (int i = 0; i < spins && round_.load(std::memory_order_acquire) == seen; ++i) pause();
      if (round_.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return round_.load(std::memory_order_acquire) != seen; });
      }
      seen = round_.load(std::memory_order_acquire);
      if (stopping_.load(std::memory_order_acquire)) return;
      if (!join()) continue;
      work(worker);
      if (state_.fetch_sub(one_active, std::memory_order_acq_rel) == one_active) {
        { const std::lock_guard lock(mutex_); }
        done_.notify_one();
      }
    }
  }

  void stop() {
    stopping_.store(true, std::memory_order_release);
    {
      const std::lock_guard lock(mutex_);
      round_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (auto& thread : workers_) thread.join();
  }

  int size_ = 1;
  std::vector<std::thread> workers_;
  std::unique_ptr<Counter[]> counters_;
  Job job_;
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  alignas(64) std::atomic<index_t> next_{0};
  alignas(64) std::atomic<unsigned> state_{0};
  std::atomic<unsigned> round_{0};
  std::atomic<bool> busy_{false}, stopping_{false};
};

}  // namespace sra
