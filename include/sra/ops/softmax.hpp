// Softmax over the last extent.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>

namespace sra {

/// y_i = exp(x_i − max x) / Σ_j exp(x_j − max x) over the last extent: no overflow for large x.
/// dx = y (dy − Σ y dy).  Keeps y.
/// @param x [..., D]  @return [..., D]
template <Variable X>
X softmax(X x) {
  auto y = x.like();
  softmax_forward(x.context(), y.value, x.value);
  return record(y, [=](auto& context, auto dy) { softmax_backward(context, dy, y.value, x.grad()); });
}

}  // namespace sra
