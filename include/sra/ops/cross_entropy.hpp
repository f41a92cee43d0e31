// The cross-entropy of class scores.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/error.hpp>

#include <cstdint>

namespace sra {

/// y = log Σ_j exp(x_j) − x_label of every sample: the negative log of the probability that softmax gives the label.  No overflow
/// for large x.  dx = dy (softmax(x) − [j = label]).  Keeps x and one wide number a sample; sums in the wide type.
/// @param x scores [B, N]  @param labels [B], where kernels can read them, each in [0, N): checked where labels enter, not here
/// @return [B] wide  @throws Error unless there is a label for every sample
template <Variable X>
auto cross_entropy(X x, View<const std::int32_t, Shape<dynamic>> labels) {
  static_assert(X::shape::rank == 2 && X::shape::batched, "cross_entropy: the scores must be [B, N]");
  using Wide = typename X::context_type::wide;
  if (labels.shape.batch != x.batch())
    throw Error(
        text("cross_entropy: operands of one batch, expected ", x.batch(), " labels, got ", labels.shape.batch));
  auto y = make<Wide>(x.context(), Shape<dynamic>{x.batch()});
  Wide* logs = x.template per_row<1, Wide>();  // log Σ exp(x_j)
  cross_entropy_forward(x.context(), y.value, logs, x.value, labels);
  return record(y,
                [=](auto& context, auto dy) { cross_entropy_backward(context, dy, logs, x.value, labels, x.grad()); });
}

}  // namespace sra
