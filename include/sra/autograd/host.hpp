// What a step takes from the host and gives to it: copied where the backend's memory is another.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/context.hpp>
#include <sra/core/view.hpp>

#include <type_traits>

namespace sra {

/// Memory of the host as kernels can read it: itself if the host's memory is the backend's, else a copy on the activation
/// stack.  The host's memory must stay as it is until the step's results are read.  What is no tensor is returned as it is.
/// @param x a view of the host's memory without gaps, of any shape and type  @return a view of the same shape and type
template <Context C, class V>
V on_device(C& context, V x) {
  if constexpr (!C::backend_type::is_host && requires { x.data; }) {
    using T = std::remove_const_t<typename V::type>;
    const auto copied = dense(context.template take<T>(x.shape.size()), x.shape);
    copy_from_host(context, copied, View<const T, typename V::shape_type>(x));
    return copied;
  } else {
    return x;
  }
}

/// y = x, rounded to the type of y.  @param y on the backend  @param x memory of the host without gaps, as for on_device
template <Context C, class T, class U, class S>
void copy_in(C& context, View<T, S> y, View<const U, S> x) {
  if constexpr (!C::backend_type::is_host && std::is_same_v<T, U>) {
    if (y.contiguous()) return copy_from_host(context, y, x);
  }
  const Arena::Mark before = context.workspace().activations.mark();
  copy(context, y, on_device(context, x));
  context.workspace().activations.pop(before);
}

/// y = x; there once the backend's wait() or download() is back.  @param y memory of the host  @param x on the backend, both
/// without gaps
template <Context C, class T, class S>
void copy_out(C& context, View<T, S> y, View<const T, S> x) {
  if constexpr (C::backend_type::is_host)
    copy(context, y, x);
  else
    copy_to_host(context, y, x);
}

}  // namespace sra
