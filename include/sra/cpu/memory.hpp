// Filling, copying and adding tensors on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/view.hpp>
#include <sra/cpu/isa/dispatch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace sra::backend {

/// Rows that a task of a row-wise kernel takes, so that it works on about 16,384 elements.
inline index_t rows_per_task(index_t width) { return std::max<index_t>(1, 16'384 / std::max<index_t>(1, width)); }

/// Zeroes memory.
template <ContextOn<Cpu> C>
void zero_memory(C& context, void* data, std::size_t bytes) {
  launch(context, "zero_memory", {double(bytes), 0}, [&](Cpu&) { std::memset(data, 0, bytes); });
}

/// y = value.
template <ContextOn<Cpu> C, class T, class S>
void fill(C& context, View<T, S> y, T value) {
  launch(context, "fill", {double(y.shape.size()) * sizeof(T), 0}, [&](Cpu&) {
    for (index_t r = 0; r < y.shape.rows(); ++r) std::fill_n(y.row(r), S::width, value);
  });
}

/// y = x, or y += x, or nothing, as the mode says; converts between element types.
template <ContextOn<Cpu> C, class T, class U, class S>
void deposit(C& context, Grad<T, S> y, View<const U, S> x) {
  if (!y) return;
  const bool add = y.mode == GradMode::accumulate;
  launch(context, "deposit", {double(x.shape.size()) * (sizeof(U) + (add ? 2 : 1) * sizeof(T)), 0}, [&](Cpu& cpu) {
    for_rows(cpu, x.shape.rows(), rows_per_task(S::width), [=](index_t begin, index_t end, int) {
      for (index_t r = begin; r < end; ++r)
        for (index_t i = 0; i < S::width; i += lanes) {
          wide_t<T> block[lanes];
          load_block(block, x.row(r) + i, columns_left<S::width>(i));
          if (add)
            accumulate_block(y.to.row(r) + i, block, columns_left<S::width>(i));
          else
            store_block(y.to.row(r) + i, block, columns_left<S::width>(i));
        }
    });
  });
}

/// y = x.
template <ContextOn<Cpu> C, class T, class U, class S>
void copy(C& context, View<T, S> y, View<U, S> x) {
  deposit(context, Grad<T, S>{y, GradMode::overwrite}, View<const std::remove_const_t<U>, S>(x));
}

}  // namespace sra::backend
