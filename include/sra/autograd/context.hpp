// Contexts: whether values are traced, in which type, on which backend, with which memory and which parameters.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/tape.hpp>
#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/core/arena.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/pool.hpp>
#include <sra/core/view.hpp>

#include <type_traits>
#include <utility>

namespace sra {

/// What one thread of work needs: the activation stack, the gradient pool and the tape.  A trainer owns one, every
/// sampler another.
template <Backend B>
struct Workspace {
  explicit Workspace(B& b)
      : backend(b), activations(MemorySource::of(b), "activations"), gradients(MemorySource::of(b), "gradients") {}

  /// Forgets everything that is in flight: the roll-back after an exception.
  void roll_back() {
    tape.clear();
    activations.pop({});
    gradients.release_all();
  }
  /// Growth throws from now on.
  void freeze() {
    activations.freeze();
    gradients.freeze();
    tape.freeze();
  }
  void thaw() {
    activations.thaw();
    gradients.thaw();
    tape.thaw();
  }
  /// While planning, memory is counted and kernels are skipped; everything else runs as it will.
  void plan(bool on) {
    planning = on;
    activations.plan(on);
    gradients.plan(on);
  }

  B& backend;
  Arena activations;
  Pool gradients;
  Tape tape;
  LaunchObserver* observer = nullptr;
  bool planning = false;
};

/// The flat buffers that a module's offsets point into.  @tparam T type of the values that products read
template <class T>
struct ParameterTable {
  const T* values = nullptr;           ///< in the context's type
  const wide_t<T>* masters = nullptr;  ///< float (double): biases, norms, embeddings
  wide_t<T>* gradients = nullptr;      ///< null: parameters are constants
  unsigned char* states = nullptr;     ///< one ParameterState each
  index_t size = 0;                    ///< elements of each buffer; 0: unknown
};

template <class T, class S, class Context>
struct Var;

/// The element type of a value of shape S that an op makes in context C: that of the context for token tensors [B, T, D],
/// the wide one for everything else (values per sample, statistics, losses, images).
template <Context C, class S>
using element_t = std::conditional_t<S::batched && S::rank == 3, typename C::type, typename C::wide>;

/// The type of the residual stream [B, T, D], in which every block adds its results: the wide one, so that their roundings do not
/// add up over blocks, or the context's own, where the backend gains more by it; docs/design.md has figures.
template <Context C>
using residual_t = std::conditional_t<C::backend_type::wide_residual, typename C::wide, typename C::type>;

/// What Recording and Detached share.  A context belongs to one thread.
template <Backend B, class T>
class ContextBase {
 public:
  using backend_type = B;
  using type = T;          ///< of token tensors
  using wide = wide_t<T>;  ///< of statistics, per-sample values and losses

  ContextBase(Workspace<B>& workspace, ParameterTable<T> table) : workspace_(&workspace), table_(table) {}
  ContextBase(const ContextBase&) = delete;
  ContextBase& operator=(const ContextBase&) = delete;

  B& backend() const { return workspace_->backend; }
  Workspace<B>& workspace() const { return *workspace_; }
  Tape& tape() const { return workspace_->tape; }
  bool planning() const { return workspace_->planning; }
  const ParameterTable<T>& table() const { return table_; }

  /// Uninitialised memory on the activation stack.
  template <class U>
  U* take(index_t count) const {
    return static_cast<U*>(workspace_->activations.take(static_cast<std::size_t>(count) * sizeof(U)));
  }
  /// An uninitialised tensor on the activation stack, rows padded to 16 bytes.
  template <class U, class S>
  View<U, S> tensor(S shape) const {
    View<U, S> v{nullptr, shape};
    v.data = take<U>(shape.samples() * v.stride);
    return v;
  }

 private:
  Workspace<B>* workspace_;
  ParameterTable<T> table_;
};

/// Values made in this context are traced: they have gradient slots, and ops leave records.
template <Backend B, class T>
class Recording : public ContextBase<B, T> {
 public:
  static constexpr bool recording = true;
  using ContextBase<B, T>::ContextBase;
  Slot* slot(std::size_t bytes) const { return this->tape().slot(bytes); }
};

/// Values made in this context have neither slots nor records: the teacher and the samplers.
template <Backend B, class T>
class Detached : public ContextBase<B, T> {
 public:
  static constexpr bool recording = false;
  using ContextBase<B, T>::ContextBase;
  Slot* slot(std::size_t) const { return nullptr; }
};

}  // namespace sra
