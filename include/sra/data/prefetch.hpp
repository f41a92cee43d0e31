// Batches prepared ahead by background threads; what is in them depends on the seed and the step alone.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/data/batch.hpp>
#include <sra/data/shuffle.hpp>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace sra {

/// How batches are made.
struct PrefetchOptions {
  std::uint64_t seed = 0;
  index_t batch = 1;  ///< samples a batch on this rank
  int threads = 1;    ///< 0 reads inside get()
  int ahead = 2;      ///< batches prepared beyond the one in use
  index_t rank = 0;   ///< this rank's part of every step: [rank * batch, (rank + 1) * batch)
  index_t world = 1;
};

/// Items that could not be read so far.
struct Unreadable {
  std::size_t count = 0;           ///< different items
  std::vector<std::string> names;  ///< what was said about the first 100
};

/// Prepares batches ahead.  Sample number g = (step · world + rank) · batch + row of the run is item g of an endless
/// data set, and item shuffled(seed, g / n, g mod n, n) of a finite one; it is read with Rng(seed, Purpose::data, 0,
/// g). So a run can start at any step, and neither threads nor timing change a bit.  An unreadable item is replaced by
/// the next one.  Allocates when constructed and when something is unreadable, never otherwise.
template <Dataset D>
class Prefetcher {
 public:
  using Sample = typename D::Sample;

  /// @param data must outlive the Prefetcher
  Prefetcher(const D& data, PrefetchOptions options) : data_(data), options_(options) {
    if (options.batch < 1) throw Error(text("Prefetcher: expected a batch >= 1, got ", options.batch));
    if (options.threads < 0) throw Error(text("Prefetcher: expected threads >= 0, got ", options.threads));
    if (options.ahead < 0) throw Error(text("Prefetcher: expected ahead >= 0, got ", options.ahead));
    if (options.rank < 0 || options.rank >= options.world)
      throw Error(text("Prefetcher: expected 0 <= rank < world, got rank ", options.rank, " of ", options.world));
    if constexpr (Finite<D>) {
      items_ = static_cast<index_t>(data.size());
      if (items_ < 1) throw Error("Prefetcher: expected a data set of at least one item, got an empty one");
    }
    slots_.resize(options.threads == 0 ? 1 : static_cast<std::size_t>(options.ahead) + 1,
                  Slot{Batch<Sample>(options.batch)});
    start();
  }
  Prefetcher(const D&&, PrefetchOptions) = delete;
  ~Prefetcher() { stop(); }
  Prefetcher(const Prefetcher&) = delete;
  Prefetcher& operator=(const Prefetcher&) = delete;

  /// The batch of a step; valid until the next call.  Steps in order are prepared ahead, others are read on demand.
  /// Rethrows what `read` threw for the lowest row.  To be called from one thread at a time.
  const Batch<Sample>& get(index_t step) {
    if (step < 0) throw Error(text("Prefetcher: expected a step >= 0, got ", step));
    std::unique_lock lock(mutex_);
    if (step == first_ + 1 && first_ >= 0)
      release();
    else if (step != first_)
      restart(lock, step);
    Slot& wanted = slot(step);
    if (options_.threads == 0) {
      lock.unlock();
      while (wanted.done < options_.batch) read(wanted, step, wanted.done), ++wanted.done;
    } else {
      work_.notify_all();
      ready_.wait(lock, [&] { return wanted.done == options_.batch; });
    }
    if (wanted.error) std::rethrow_exception(wanted.error);
    return wanted.batch;
  }

  /// What could not be read so far, in batches handed out or being prepared.  Callable from any thread.
  Unreadable unreadable() const {
    const std::lock_guard lock(unreadable_mutex_);
    return {unreadable_items_.size(), unreadable_names_};
  }

 private:
  struct Slot {
    explicit Slot(Batch<Sample> b) : batch(std::move(b)) {}
    Batch<Sample> batch;
    index_t done = 0;          // rows, whether read or failed
    std::exception_ptr error;  // of the lowest row that failed
    index_t error_row = 0;
    void clear() { done = 0, error = nullptr; }
  };

  Slot& slot(index_t step) { return slots_[static_cast<std::size_t>(step) % slots_.size()]; }

  void start() {
    try {
      for (int i = 0; i < options_.threads; ++i) workers_.emplace_back([this] { work(); });
    } catch (...) {
      const auto started = workers_.size();
      stop();
      throw Error(text("Prefetcher: expected to start ", options_.threads, " threads, got ", started));
    }
  }

  void stop() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    work_.notify_all();
    for (auto& worker : workers_) worker.join();
    workers_.clear();
  }

  // Gives the batch in use back, which makes room for a new one.
  void release() {
    slot(first_).clear();
    ++first_;
  }

  // Forgets everything prepared and goes on from another step.
  void restart(std::unique_lock<std::mutex>& lock, index_t step) {
    paused_ = true;
    ready_.wait(lock, [&] { return reading_ == 0; });
    for (auto& s : slots_) s.clear();
    first_ = next_step_ = step;
    next_row_ = 0;
    paused_ = false;
  }

  bool work_to_do() const {
    return !paused_ && first_ >= 0 && next_step_ < first_ + static_cast<index_t>(slots_.size());
  }

  void work() {
    std::unique_lock lock(mutex_);
    for (;;) {
      work_.wait(lock, [&] { return stopping_ || work_to_do(); });
      if (stopping_) return;
      const index_t step = next_step_, row = next_row_;
      if (++next_row_ == options_.batch) ++next_step_, next_row_ = 0;
      ++reading_;
      Slot& to = slot(step);
      lock.unlock();
      read(to, step, row);
      lock.lock();
      --reading_;
      ++to.done;
      if (to.done == options_.batch || paused_) ready_.notify_all();
    }
  }

  // Reads one row of a batch, or notes why it could not be read.
  void read(Slot& to, index_t step, index_t row) noexcept {
    try {
      const index_t g = (step * options_.world + options_.rank) * options_.batch + row;
      const index_t item = items_ ? shuffled(options_.seed, g / items_, g % items_, items_) : g;
      read_or_replace(item, Rng(options_.seed, Purpose::data, 0, g), to.batch.row(row));
    } catch (...) {
      const std::lock_guard lock(unreadable_mutex_);
      if (to.error && to.error_row < row) return;
      to.error = std::current_exception();
      to.error_row = row;
    }
  }

  void read_or_replace(index_t item, Rng rng, Row<Sample> out) {
    const index_t tries = items_ ? std::min<index_t>(items_, 100) : 100;
    for (index_t failed = 0;; ++item) {
      const index_t at = items_ ? item % items_ : item;
      try {
        return read_checked(data_, static_cast<std::size_t>(at), rng, out);
      } catch (const UnreadableSample& e) {
        note(at, e.what());
        if (++failed == tries)
          throw Error(text("Prefetcher: expected a readable item, got ", tries,
                           " unreadable ones in a row, the last: ", e.what()));
      }
    }
  }

  void note(index_t item, const char* what) {
    const std::lock_guard lock(unreadable_mutex_);
    if (unreadable_items_.insert(item).second && unreadable_names_.size() < 100) unreadable_names_.emplace_back(what);
  }

  const D& data_;
  const PrefetchOptions options_;
  index_t items_ = 0;  // 0: endless

  std::mutex mutex_;  // guards everything up to workers_, except the rows that are being read
  std::condition_variable work_, ready_;
  std::vector<Slot> slots_;
  index_t first_ = -1;     // the step in use
  index_t next_step_ = 0;  // the next row to be read
  index_t next_row_ = 0;
  int reading_ = 0;  // rows being read now
  bool paused_ = false, stopping_ = false;
  std::vector<std::thread> workers_;

  mutable std::mutex unreadable_mutex_;  // also guards the errors of slots
  std::set<index_t> unreadable_items_;
  std::vector<std::string> unreadable_names_;
};

}  // namespace sra
