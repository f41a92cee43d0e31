// Embeddings of labels and of times.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>

#include <cstdint>
#include <type_traits>

namespace sra {

/// y[b] = table[labels[b]].  The gradient of the table is summed in the order of the batch, without atomics.
/// @param table [N, D]  @param labels [B], each in [0, N): checked where labels enter, not here  @return [B, D] wide
template <Variable Table, Context C>
auto embedding(C& context, Table table, View<const std::int32_t, Shape<dynamic>> labels) {
  static_assert(Table::shape::rank == 2, "embedding: the table is [N, D]");
  static_assert(std::is_same_v<typename Table::type, typename C::wide>,
                "embedding: the table is of the context's wide type, as leaf() gives it");
  auto y = make<typename C::wide>(context, Shape<dynamic, Table::shape::width>{labels.shape.batch});
  embedding_forward(context, y.value, table.value, labels);
  return record(y, [=](auto& c, auto dy) { embedding_backward(c, table.grad(), dy, labels); });
}

/// Sinusoidal features of times, cosines first: [cos(t f_0), …, sin(t f_0), …], f_k = 10000^(−k / (Width/2)).
/// SiT feeds t in [0, 1] unscaled.  DiT, arXiv:2212.09748; frequencies in float as PyTorch computes them.
/// @param t [B]  @return [B, Width] wide; a constant
template <int Width, Context C, class W>
auto time_features(C& context, View<const W, Shape<dynamic>> t) {
  static_assert(Width % 2 == 0, "time_features<Width>: Width must be even");
  const auto y = context.template tensor<typename C::wide>(Shape<dynamic, Width>{t.shape.batch});
  time_features_forward(context, y, t);
  return constant(context, y);
}

}  // namespace sra
