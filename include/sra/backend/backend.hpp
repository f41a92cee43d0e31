// What a backend is: a place that owns memory and runs kernels.
// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <cstddef>

namespace sra {

/// A backend allocates memory and is the first template argument of every context; its kernels are free functions in
/// its namespace that take a context, found by argument-dependent lookup when an op is instantiated.  What is launched runs in
/// order, maybe later; upload (host to backend), download (backend to host) and zero come after what was launched before and
/// are done when they return; wait returns when everything is done.
///   is_host        the host may read and write the backend's memory, and a kernel is done when its launch returns
///   wide_residual  the residual stream is of the wide type, whatever the context's type: see residual_t
///   sampler_type   of a sampler's state
///   options_type   what the backend is made from
/// A backend may also have available(), the bytes that allocate() may still hand out: then a trainer says what would fit.
template <class B>
concept Backend = requires(B& backend, void* p, const void* from, std::size_t bytes) {
  { backend.allocate(bytes) } -> std::convertible_to<void*>;
  backend.release(p, bytes);
  backend.upload(p, from, bytes);
  backend.download(p, from, bytes);
  backend.zero(p, bytes);
  backend.wait();
  { B::is_host } -> std::convertible_to<bool>;
  { B::wide_residual } -> std::convertible_to<bool>;
  typename B::sampler_type;
  typename B::options_type;
};

/// Whether values are traced, in which type, on which backend: Recording or Detached.
template <class C>
concept Context = requires {
  typename C::backend_type;
  typename C::type;
  { C::recording } -> std::convertible_to<bool>;
};

/// A context whose backend is B or derived from it; kernels constrain their first parameter with it.
template <class C, class B>
concept ContextOn = Context<C> && std::derived_from<typename C::backend_type, B>;

}  // namespace sra
