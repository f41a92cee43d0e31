// Traced values: a view plus a gradient slot, the record function, and the backward pass.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/context.hpp>
#include <sra/core/pack.hpp>
#include <sra/core/view.hpp>

#include <type_traits>

namespace sra {

template <class Tree, class... Leaves>
struct Expr;

namespace detail {

/// Makes sure that a slot has memory.  The parts of a value share the whole's gradient; since not every part need be
/// used, the whole is zeroed when its first part is, and parts only ever add.
template <class C>
void touch(C& context, Slot& slot) {
  if (slot.data) return;
  if (!slot.parent) {
    slot.data = context.workspace().gradients.take(slot.bytes);
    return;
  }
  Slot& parent = *slot.parent;
  const bool first = parent.state ? *parent.state == unwritten : !parent.filled;
  touch(context, parent);
  // A part of a part has no bytes of its own and lies in a whole that is zero.
  if (first && parent.bytes > 0) zero_memory(context, parent.data, parent.bytes);
  parent.filled = true;
  if (parent.state) *parent.state = written;
  slot.data = static_cast<std::byte*>(parent.data) + slot.offset;
  slot.filled = true;
}

/// Whether the slot is that of a frozen parameter or of a part of one.
inline bool is_frozen(const Slot* slot) {
  while (slot->parent) slot = slot->parent;
  return slot->state && *slot->state == frozen;
}

}  // namespace detail

/// A value of an expression: a trivially copyable handle on memory, its gradient slot, and the context it lives in.
/// Slots are null in a Detached context and for constants.
template <class T, class S, class C>
struct Var {
  using type = T;
  using shape = S;
  using context_type = C;

  C* context_ = nullptr;
  View<T, S> value{};
  Slot* slot = nullptr;

  Var(C& context, View<T, S> v, Slot* s) : context_(&context), value(v), slot(s) {}
  /// Evaluates an expression into a new tensor of this shape and type.
  template <class Tree, class... Leaves>
  Var(const Expr<Tree, Leaves...>& e) : Var(evaluate<T, S>(e)) {}

  C& context() const { return *context_; }
  index_t batch() const { return value.shape.batch; }

  /// An uninitialised value of the same shape and type.
  Var like() const { return make<T>(*context_, value.shape); }
  /// Uninitialised statistics, N per row of the last extent, as a dense [rows, N] array.
  template <int N, class U>
  U* per_row() const {
    return context_->template take<U>(value.shape.rows() * N);
  }
  /// The same value without a gradient: a constant for everything computed from it.
  Var stop_gradient() const { return {*context_, value, nullptr}; }

  /// Where this value's gradient goes, and whether the kernel writes or adds.  Only inside pullbacks: each call counts
  /// as one contribution.
  Grad<T, S> grad() const {
    if constexpr (!C::recording) {
      return {};
    } else {
      if (!slot || detail::is_frozen(slot)) return {};
      if (slot->state) {
        const bool first = *slot->state == unwritten;
        *slot->state = written;
        return {at(slot->data), first ? GradMode::overwrite : GradMode::accumulate};
      }
      detail::touch(*context_, *slot);
      const bool first = !slot->filled;
      slot->filled = true;
      return {at(slot->data), first ? GradMode::overwrite : GradMode::accumulate};
    }
  }
  /// A view of the value's layout over other memory.
  View<T, S> at(void* data) const { return {static_cast<T*>(data), value.shape, value.pitch, value.stride}; }
};

namespace detail {

template <class>
struct IsVar : std::false_type {};
template <class T, class S, class C>
struct IsVar<Var<T, S, C>> : std::true_type {};

}  // namespace detail

/// A Var of any type, shape and context.
template <class V>
concept Variable = detail::IsVar<std::remove_cvref_t<V>>::value;

/// An uninitialised value on the activation stack.  @tparam T element type
template <class T, class S, Context C>
Var<T, S, C> make(C& context, S shape) {
  const View<T, S> v = context.template tensor<T>(shape);
  return {context, v, context.slot(static_cast<std::size_t>(shape.samples() * v.stride) * sizeof(T))};
}

/// The same without gaps between rows.
template <class T, class S, Context C>
Var<T, S, C> make_dense(C& context, S shape) {
  return {context, dense(context.template take<T>(shape.size()), shape),
          context.slot(static_cast<std::size_t>(shape.size()) * sizeof(T))};
}

/// A value that nobody differentiates, over memory that outlives the step.
template <class T, class S, Context C>
Var<T, S, C> constant(C& context, View<T, S> v) {
  return {context, v, nullptr};
}

/// A value over memory of the caller's with a gradient slot: an input one wants the gradient of.
template <class T, class S, Context C>
Var<T, S, C> input(C& context, View<T, S> v) {
  return {context, v, context.slot(static_cast<std::size_t>(v.shape.samples() * v.stride) * sizeof(T))};
}

/// A matrix of parameters as products read it: values in the context's type, the gradient always wide.
template <class T, class S, class C>
struct Weight {
  using shape = S;
  using context_type = C;

  View<const T, S> value{};
  wide_t<T>* gradient = nullptr;   ///< null: nobody wants it
  unsigned char* state = nullptr;  ///< its ParameterState in this step

  /// As Var::grad.
  Grad<wide_t<T>, S> grad() const {
    if (!C::recording || !gradient || *state == frozen) return {};
    const bool first = *state == unwritten;
    *state = written;
    return {dense(gradient, value.shape), first ? GradMode::overwrite : GradMode::accumulate};
  }
};

/// A part of x: the same memory seen through `v`, its gradient inside x's.  `v` lies within x and has its layout.
template <Variable X, class T, class S>
auto part_of(X x, View<T, S> v) {
  Slot* slot = nullptr;
  if constexpr (X::context_type::recording) {
    if (x.slot) {
      slot = x.context().slot(0);
      slot->parent = x.slot;
      slot->offset = static_cast<std::size_t>(v.data - x.value.data) * sizeof(T);
    }
  }
  return Var<T, S, typename X::context_type>{x.context(), v, slot};
}

namespace detail {

/// The incoming gradient of one result of a record: zeroed if nobody used that result.
template <class C, class T, class S>
View<const T, S> incoming(C& context, const Var<T, S, C>& y) {
  if (!y.slot) return {};
  const bool used = y.slot->filled;
  touch(context, *y.slot);
  if (!used) zero_memory(context, y.slot->data, y.slot->bytes);
  return y.at(y.slot->data);
}

template <class C>
void release(C& context, Slot* slot) {
  if (!slot || !slot->data || slot->parent || slot->state) return;
  context.workspace().gradients.release(slot->data);
  slot->data = nullptr;
}

}  // namespace detail

/// Records how the gradients of results y... become gradients of what they were computed from, and returns y.
/// @param pullback called as pullback(context, dy...) with one View<const T, S> per result, if any result has a
///   gradient; what it captures is what is kept alive
template <class... Y, class F>
auto record(Pack<Y...> results, const F& pullback) {
  return results.apply([&](auto first, auto...) {
    using C = typename decltype(first)::context_type;
    if constexpr (C::recording) {
      C& context = first.context();
      context.tape().template push<C>(context.workspace().activations.mark(), [results, pullback](C& c) {
        results.apply([&](auto... y) {
          if (!((y.slot && y.slot->filled) || ...)) return;
          pullback(c, detail::incoming(c, y)...);
          (detail::release(c, y.slot), ...);
        });
      });
    }
    return results;
  });
}

/// The same for one result.
template <Variable Y, class F>
Y record(Y y, const F& pullback) {
  if constexpr (Y::context_type::recording) record(pack(y), pullback);
  return y;
}

/// Calls f(context) when the backward pass arrives here: everything computed after this point has its gradients.
template <Context C, class F>
void mark(C& context, F f) {
  if constexpr (C::recording)
    context.tape().template push<C>(context.workspace().activations.mark(), [f](C& c) { f(c); });
}

/// Runs the backward pass from y with the given seed and leaves the tape as it was before recording `until`.
/// @param seed dL/dy, the same for every element
template <Variable Y>
void backward(Y y, wide_t<typename Y::type> seed = 1, Tape::Record* until = nullptr) {
  static_assert(Y::context_type::recording, "backward: the value must come from a Recording context");
  auto& context = y.context();
  const auto dy = y.grad();
  if (dy) fill(context, dy.to, static_cast<typename Y::type>(seed));
  context.tape().unwind(context, until);
}

/// Hands the gradient buffer of `from` to `to` instead of copying it: the derivative is the identity.
/// @return false if `to` already has a gradient or the layouts differ; then nothing happened
template <Variable X, Variable Y>
bool hand_over(Y from, X to) {
  if (!to.slot || !from.slot || to.slot->data || to.slot->parent || to.slot->state) return false;
  if (from.slot->parent || from.slot->state || from.slot->bytes != to.slot->bytes) return false;
  if (from.value.pitch != to.value.pitch || from.value.stride != to.value.stride) return false;
  to.slot->data = from.slot->data;
  to.slot->filled = true;
  from.slot->data = nullptr;
  return true;
}

}  // namespace sra
