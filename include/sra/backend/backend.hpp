// What a backend is: a place that owns memory and runs kernels.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstddef>

namespace sra {

/// A backend allocates memory and is the first template argument of every context; its kernels are free functions in
/// its namespace that take a context, found by argument-dependent lookup when an op is instantiated.
template <class B>
concept Backend = requires(B& backend, void* p, std::size_t bytes) {
  { backend.allocate(bytes) } -> std::convertible_to<void*>;
  backend.release(p, bytes);
  { B::is_host } -> std::convertible_to<bool>;
};

/// Whether values are traced, in which type, on which backend: Recording or Detached.
template <class C>
concept Context = requires {
  typename C::backend_type;
  typename C::type;
  { C::recording } -> std::convertible_to<bool>;
};

/// A context whose backend is B; kernels constrain their first parameter with it.
template <class C, class B>
concept ContextOn = Context<C> && std::same_as<typename C::backend_type, B>;

}  // namespace sra
