// Scaling rows to unit length.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>

namespace sra {

/// y = x / max(|x|, eps) over the last extent, |.| the Euclidean norm.
/// dx = (dy − y Σ y dy) / |x|, and dy / eps where |x| < eps.  Keeps y and |x| (one wide number a row).
/// @param x [..., D]  @return [..., D]
template <Variable X>
X normalize(X x, double eps = 1e-12) {
  using Wide = typename X::context_type::wide;
  auto y = x.like();
  Wide* norms = x.template per_row<1, Wide>();
  normalize_forward(x.context(), y.value, norms, x.value, eps);
  return record(y, [=](auto& context, auto dy) { normalize_backward(context, dy, y.value, norms, eps, x.grad()); });
}

}  // namespace sra
