// Steps that a backend replays: inputs at fixed addresses, captured forms, results that the host reads later.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/alignment/pass.hpp>
#include <sra/autograd/captures.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/schedule.hpp>
#include <sra/core/settings.hpp>
#include <sra/diffusion/flow_matching.hpp>
#include <sra/train/micro_batch.hpp>
#include <sra/train/reports.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>
#include <vector>

namespace sra {

/// All that differs between two micro-batches of one form, in one piece of memory: on the host and, at the same offsets, on the
/// device.  Scheduled numbers are behind the key, then come images, conditions and features.
template <class Model, class W>
class StagedInputs {
 public:
  StagedInputs() = default;
  explicit StagedInputs(const MicroBatch<Model>& like) : like_(like) {
    const auto place = [&](std::size_t size) {
      return std::exchange(bytes_, round_up(bytes_ + size, alignment_bytes));
    };
    static_assert(sizeof(DrawKey) <= scheduled_at);
    place(scheduled_at + ScheduledNumbers<W>::most * sizeof(W));
    images_ = place(image_bytes());
    condition_ = place(condition_bytes());
    features_ = place(feature_bytes());
  }

  std::size_t bytes() const { return bytes_; }
  index_t batch() const { return like_.images.shape.batch; }
  /// Whether a micro-batch has the same sizes.
  bool fits(const MicroBatch<Model>& m) const {
    return bytes_ > 0 && m.images.shape.batch == batch() && m.feature_size == like_.feature_size &&
           (m.features != nullptr) == (like_.features != nullptr);
  }

  /// What lies in memory that begins at `base`.
  static const DrawKey* key(std::byte* base) { return reinterpret_cast<const DrawKey*>(base); }
  static W* scheduled(std::byte* base) { return reinterpret_cast<W*>(base + scheduled_at); }
  MicroBatch<Model> micro_batch(std::byte* base) const {
    MicroBatch<Model> m = like_;
    m.images.data = reinterpret_cast<const float*>(base + images_);
    if constexpr (requires { m.condition.data; })
      m.condition.data = reinterpret_cast<decltype(m.condition.data)>(base + condition_);
    if (m.features) m.features = reinterpret_cast<const float*>(base + features_);
    return m;
  }
  /// Writes a micro-batch of these sizes to memory of the host.
  void write(std::byte* base, const MicroBatch<Model>& m, DrawKey key) const {
    ::new (static_cast<void*>(base)) DrawKey(key);
    std::memcpy(base + images_, m.images.data, image_bytes());
    if constexpr (requires { m.condition.data; }) std::memcpy(base + condition_, m.condition.data, condition_bytes());
    if (m.features) std::memcpy(base + features_, m.features, feature_bytes());
  }

 private:
  static constexpr std::size_t scheduled_at = 64;
  std::size_t image_bytes() const { return static_cast<std::size_t>(like_.images.shape.size()) * sizeof(float); }
  std::size_t condition_bytes() const {
    if constexpr (requires { like_.condition.data; })
      return static_cast<std::size_t>(like_.condition.shape.size()) * sizeof(*like_.condition.data);
    else
      return 0;
  }
  std::size_t feature_bytes() const {
    return like_.features ? static_cast<std::size_t>(batch() * like_.feature_size) * sizeof(float) : 0;
  }

  MicroBatch<Model> like_{};  ///< its addresses are of no use
  std::size_t images_ = 0, condition_ = 0, features_ = 0, bytes_ = 0;
};

/// Captured micro-batches and updates, and those that are under way.  The host prepares in one of two slots while the device works
/// on the other; what the device found is in the slot when its event has come.
///
/// Inputs go up while the device works on the micro-batch before, into memory of their own: a graph reads fixed addresses, so
/// that they are copied there, within the device, before it is launched.  With a second form of every graph that reads the other
/// memory this copy could be saved, which is 8 MB of traffic for 256 latents of 4 x 32 x 32, but captures would be twice as many.
template <class Model, Backend B, class W>
class Replay {
 public:
  using Ticket = std::uint64_t;  ///< number of a launch; larger is later
  using States = std::vector<unsigned char>;

  /// One way through a micro-batch or an update: as long as it begins in the same states, it ends in the same.
  struct Form {
    States before{}, after{};  ///< of the parameters' gradients
    float dropout = 0;
    double share = 0;
    std::vector<Schedule> schedules{};  ///< in the order in which the alignment asks for them
    typename B::graph_type graph{};
  };

  /// @param per_sample where the denoising losses of the last micro-batch go
  Replay(Workspace<B>& workspace, std::vector<W>& per_sample)
      : backend_(workspace.backend), per_sample_(per_sample), micro_batches_(workspace), updates_(workspace) {}
  Replay(const Replay&) = delete;
  Replay& operator=(const Replay&) = delete;

  /// Forgets what was captured: addresses have changed.
  void clear() {
    deliver(last());
    micro_batches_.clear();
    updates_.clear();
  }
  /// Whether steps are to be captured.
  bool wanted() const { return micro_batches_.wanted() && updates_.wanted(); }

  /// Whether a micro-batch has the sizes of the captured ones; the first one decides.
  bool takes(const MicroBatch<Model>& m) {
    if (inputs_.fits(m)) return true;
    if (!micro_batches_.empty()) return false;
    deliver(last());
    inputs_ = StagedInputs<Model, W>(m);
    for (Memory* memory : {&arriving_, &placed_}) *memory = Memory(MemorySource::of(backend_), inputs_.bytes());
    const std::size_t results = static_cast<std::size_t>(2 + inputs_.batch()) * sizeof(W);
    for (Slot& s : slots_) s.memory = Memory(backend_.pinned(), inputs_.bytes() + results);
    return true;
  }

  Form* micro_batch(const States& before, float dropout, double share) {
    return micro_batches_.find(
        [&](const Form& f) { return f.before == before && f.dropout == dropout && f.share == share; });
  }
  /// Captures f(inputs, key, scheduled), all on the device; null if that fails.
  /// @param host room for scheduled numbers  @param states f's doing
  template <class F>
  Form* capture_micro_batch(float dropout, double share, W* host, const States& states, F&& f) {
    return micro_batches_.capture({.before = states, .dropout = dropout, .share = share}, [&](Form& form) {
      DrawKey key{};
      key.at = inputs_.key(placed_.data());
      f(inputs_.micro_batch(placed_.data()), key,
        ScheduledNumbers<W>{host, inputs_.scheduled(placed_.data()), &form.schedules});
      form.after = states;
    });
  }
  /// Launches a micro-batch; to += share · losses when it is delivered.  @param results on the device, see losses_of
  void launch(Form& form, const MicroBatch<Model>& m, DrawKey key, const Progress& at, const W* results, Losses& to) {
    Slot& slot = take(slots_);
    std::byte* const base = slot.memory.data();
    inputs_.write(base, m, key);
    W* const scheduled = inputs_.scheduled(base);
    scheduled[0] = 0;
    for (std::size_t i = 0; i < form.schedules.size(); ++i) scheduled[i] = static_cast<W>(form.schedules[i](at));
    slot.losses = &to;
    slot.share = form.share;
    backend_.copy_ahead(arriving_.data(), base, inputs_.bytes(), taken_);
    backend_.copy_later(placed_.data(), arriving_.data(), inputs_.bytes());
    backend_.record(taken_);
    backend_.launch(form.graph);
    backend_.copy_later(base + inputs_.bytes(), results, static_cast<std::size_t>(2 + inputs_.batch()) * sizeof(W));
    finish(slot);
  }

  Form* update(const States& before) {
    return updates_.find([&](const Form& f) { return f.before == before; });
  }
  /// Captures f(state), the state on the device; null if that fails.
  template <class F>
  Form* capture_update(const States& states, F&& f) {
    if (!state_.data()) {
      state_ = Memory(MemorySource::of(backend_), sizeof(UpdateState<W>));
      for (Slot& s : update_slots_) s.memory = Memory(backend_.pinned(), sizeof(UpdateState<W>));
    }
    return updates_.capture({.before = states, .after = states},
                            [&](Form&) { f(reinterpret_cast<UpdateState<W>*>(state_.data())); });
  }
  /// Launches an update; `to` is its report when it is delivered.
  void launch(Form& form, const UpdateState<W>& state, UpdateReport& to) {
    Slot& slot = take(update_slots_);
    ::new (static_cast<void*>(slot.memory.data())) UpdateState<W>(state);
    slot.report = &to;
    backend_.copy_later(state_.data(), slot.memory.data(), sizeof state);
    backend_.launch(form.graph);
    backend_.copy_later(slot.memory.data(), state_.data(), sizeof state);
    finish(slot);
  }

  /// The last launch.
  Ticket last() const { return tickets_; }
  /// Waits for a launch and hands out its results and those of all before it, in order.
  void deliver(Ticket until) {
    while (Slot* s = oldest()) {
      if (s->ticket > until) return;
      s->ticket = 0;
      s->event.wait();
      hand_out(*s);
    }
  }
  /// Waits for everything; what came after a launch is handed to nobody.
  void forget(Ticket after) {
    deliver(after);
    while (Slot* s = oldest()) {
      s->ticket = 0;
      s->event.wait();
    }
  }

 private:
  struct Slot {
    Memory memory;
    typename B::event_type event;
    Ticket ticket = 0;  ///< 0: nothing is under way
    Losses* losses = nullptr;
    UpdateReport* report = nullptr;
    double share = 0;
  };

  /// The slot that was not used for longest.
  Slot& take(std::array<Slot, 2>& ring) {
    Slot& s = ring[0].ticket <= ring[1].ticket ? ring[0] : ring[1];
    deliver(s.ticket);
    return s;
  }
  void finish(Slot& slot) {
    backend_.record(slot.event);
    slot.ticket = ++tickets_;
  }
  Slot* oldest() {
    Slot* first = nullptr;
    const auto look = [&](Slot& s) {
      if (s.ticket > 0 && (!first || s.ticket < first->ticket)) first = &s;
    };
    for (Slot& s : slots_) look(s);
    for (Slot& s : update_slots_) look(s);
    return first;
  }
  void hand_out(Slot& s) {
    std::byte* const base = s.memory.data();
    if (s.losses) {
      const W* const read = reinterpret_cast<const W*>(base + inputs_.bytes());
      const Losses l = losses_of(read, inputs_.batch(), inputs_.scheduled(base)[0], per_sample_);
      s.losses->denoising += s.share * l.denoising;
      s.losses->alignment += s.share * l.alignment;
      s.losses->total += s.share * l.total;
      s.losses->weight = l.weight;
    } else {
      const auto& state = *reinterpret_cast<const UpdateState<W>*>(base);
      *s.report = {std::sqrt(state.squared_norm), state.skipped != 0};
    }
  }

  B& backend_;
  std::vector<W>& per_sample_;
  StagedInputs<Model, W> inputs_;
  Memory arriving_, placed_, state_;  ///< on the device
  typename B::event_type taken_;      ///< after it the next inputs may arrive
  std::array<Slot, 2> slots_{}, update_slots_{};
  Captures<B, Form> micro_batches_, updates_;
  Ticket tickets_ = 0;
};

}  // namespace sra
