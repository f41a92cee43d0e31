// Embeddings of labels and of times on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/memory.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace sra::backend {

/// y[b] = table[labels[b]].
template <ContextOn<Cpu> C, class T, class Y, class U, class S>
void embedding_forward(C& context, View<T, Y> y, View<U, S> table, View<const std::int32_t, Shape<dynamic>> labels) {
  launch(context, "embedding_forward", {2.0 * double(y.shape.size()) * sizeof(T), 0}, [&](Cpu&) {
    for (index_t b = 0; b < y.shape.batch; ++b) {
      const U* from = table.row(labels.data[b]);
      for (index_t i = 0; i < Y::width; ++i) y.row(b)[i] = static_cast<T>(from[i]);
    }
  });
}

/// dtable[labels[b]] += dy[b] in the order of b; each task owns a block of columns.
template <ContextOn<Cpu> C, class U, class S, class T, class Y>
void embedding_backward(C& context, Grad<U, S> table, View<const T, Y> dy,
                        View<const std::int32_t, Shape<dynamic>> labels) {
  if (!table) return;
  launch(context, "embedding_backward", {double(table.to.shape.size() + dy.shape.size()) * sizeof(T), 0},
         [&](Cpu& cpu) {
           constexpr index_t rows = S::extent(0);
           for_tasks(cpu, (Y::width + lanes - 1) / lanes, [=](index_t begin, index_t end, int) {
             for (index_t task = begin; task < end; ++task) {
               const index_t i = task * lanes, count = Y::width - i;
               if (table.mode == GradMode::overwrite)
                 for (index_t r = 0; r < rows; ++r) std::fill_n(table.to.row(r) + i, std::min(count, lanes), U{});
               for (index_t b = 0; b < dy.shape.batch; ++b) {
                 U block[lanes];
                 load_block(block, dy.row(b) + i, count);
                 accumulate_block(table.to.row(labels.data[b]) + i, block, count);
               }
             }
           });
         });
}

/// y = [cos(t f), sin(t f)]; products in the type of t, cosines and sines in double.
template <ContextOn<Cpu> C, class T, class Y, class W>
void time_features_forward(C& context, View<T, Y> y, View<const W, Shape<dynamic>> t) {
  launch(context, "time_features_forward", {double(y.shape.size()) * sizeof(T), 0}, [&](Cpu&) {
    constexpr index_t frequencies = Y::width / 2;
    for (index_t k = 0; k < frequencies; ++k) {
      const float exponent = -9.210340371976184f * static_cast<float>(k) / static_cast<float>(frequencies);
      const float f = static_cast<float>(std::exp(static_cast<double>(exponent)));
      for (index_t b = 0; b < y.shape.batch; ++b) {
        const double angle = static_cast<double>(t.data[b] * static_cast<W>(f));
        y.row(b)[k] = static_cast<T>(std::cos(angle));
        y.row(b)[frequencies + k] = static_cast<T>(std::sin(angle));
      }
    }
  });
}

}  // namespace sra::backend
