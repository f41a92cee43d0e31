// Measures training steps kernel by kernel and leaves the training as it was.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/kernel_times.hpp>
#include <sra/backend/limits.hpp>
#include <sra/core/clock.hpp>
#include <sra/core/error.hpp>
#include <sra/data/prefetch.hpp>
#include <sra/train/checkpoint.hpp>
#include <sra/train/engine.hpp>
#include <sra/train/micro_batch.hpp>
#include <sra/train/profile.hpp>

#include <cstddef>
#include <optional>
#include <type_traits>
#include <vector>

namespace sra {

namespace detail {

/// Keeps everything that updates change in the host's memory, and puts it back.
template <class S>
class KeptState {
 public:
  explicit KeptState(S& store) : store_(store), buffers_(static_cast<std::size_t>(3 + store.emas())) {
    for (std::size_t i = 0; i < buffers_.size(); ++i) {
      buffers_[i].resize(static_cast<std::size_t>(store.size()));
      store.backend().download(buffers_[i].data(), buffer_of(store, static_cast<int>(i)), bytes());
    }
  }
  void put_back() {
    for (std::size_t i = 0; i < buffers_.size(); ++i)
      store_.backend().upload(buffer_of(store_, static_cast<int>(i)), buffers_[i].data(), bytes());
    store_.invalidate();
  }

 private:
  std::size_t bytes() const { return buffers_[0].size() * sizeof(typename S::W); }

  S& store_;
  std::vector<std::vector<typename S::W>> buffers_;
};

/// What the machine does at best with products of T; nothing of a backend that cannot measure it.
template <class T, class B>
Limits limits_of(B& backend) {
  if constexpr (requires { measured_limits(backend, std::type_identity<T>{}); })
    return measured_limits(backend, std::type_identity<T>{});
  else
    return {};
}

/// The update that would come `later` updates from now, without what the trainer counts and reports.
template <class Trainer, class Source>
void uncounted_step(Trainer& trainer, Source& source, index_t later) {
  using Model = std::remove_cvref_t<decltype(trainer.model())>;
  auto& engine = trainer.engine();
  const auto& o = trainer.options();
  const index_t step = trainer.step_number() + later, size = o.batch / o.accumulate;
  Progress at = trainer.progress();
  at.step = step;
  engine.begin(at);
  for (index_t k = 0; k < o.accumulate; ++k) {
    const auto micro = micro_batch<Model>(source.get(step * o.accumulate + k));
    check_batch(micro, step, k * size, false);
    engine.run(micro, {o.seed, step, k * size}, {}, o.condition_dropout, 1.0 / static_cast<double>(o.accumulate));
  }
  engine.update(step - trainer.skipped(), {o.lr(at), o.adamw, o.clip, o.ema, o.ema_warmup});
}

}  // namespace detail

/// Measures the next steps of a trainer, see Trainer::profile.
template <class Trainer, Dataset D>
Profile profile_steps(Trainer& trainer, const D& data, index_t steps, const std::optional<Limits>& given) {
  if (steps < 1) throw Error(text("Trainer: profile: expected at least 1 step, got ", steps));
  using T = typename Trainer::value_type;
  const auto& o = trainer.options();
  auto& engine = trainer.engine();
  auto& observer = engine.workspace().observer;
  Limits limits = given ? *given : detail::limits_of<T>(trainer.backend());
  Prefetcher<D> source(data, {.seed = o.seed, .batch = o.batch / o.accumulate, .threads = o.readers});
  detail::KeptState kept(engine.store());
  KernelTimes times(trainer.backend());
  LaunchObserver* const before = observer;
  double seconds = 0;
  try {
    for (index_t i = 0; i <= steps; ++i) {  // the first warms up
      observer = &times;
      const double start = now_seconds();
      detail::uncounted_step(trainer, source, i);
      trainer.backend().wait();
      if (i > 0) seconds += now_seconds() - start;
      observer = before;
      times.end_pass(i > 0);
    }
  } catch (...) {
    observer = before;
    kept.put_back();
    throw;
  }
  kept.put_back();
  if (!given) limits = best(limits, detail::limits_of<T>(trainer.backend()));
  return profile_of(times, seconds, limits);
}

}  // namespace sra
