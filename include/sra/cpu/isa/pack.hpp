// Copies blocks of a matrix into the layout that the inner kernels of the matrix product read.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace sra::backend {

namespace detail {

/// panel[i * width + j] = source[i + j * stride] for 4 i and 4 j: a transposition in registers.
[[gnu::always_inline]] inline void transpose_4x4(float* panel, index_t width, const float* source, index_t stride) {
  typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
  const Four a = *reinterpret_cast<const Four*>(source), b = *reinterpret_cast<const Four*>(source + stride);
  const Four c = *reinterpret_cast<const Four*>(source + 2 * stride);
  const Four d = *reinterpret_cast<const Four*>(source + 3 * stride);
  const Four ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
  const Four cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
  *reinterpret_cast<Four*>(panel) = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
  *reinterpret_cast<Four*>(panel + width) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
  *reinterpret_cast<Four*>(panel + 2 * width) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
  *reinterpret_cast<Four*>(panel + 3 * width) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
}

}  // namespace detail

/// panel[i * width + j] = source[i * step + j * stride] for i < count, j < used; 0 for used <= j < width: a panel of
/// `used` rows or columns that are `stride` apart, `count` long with `step` between neighbours.  Source and panel are
/// apart.
template <class T>
void pack_panel(T* panel, index_t width, index_t used, index_t count, const T* source, index_t step, index_t stride) {
  if (used < width)
    for (index_t i = 0; i < count; ++i) std::fill(panel + i * width + used, panel + (i + 1) * width, T{});
  if (stride == 1) {
    for (index_t i = 0; i < count; ++i)
      std::memcpy(panel + i * width, source + i * step, static_cast<std::size_t>(used) * sizeof(T));
    return;
  }
  constexpr index_t line = 64 / sizeof(T);  // whole cache lines of the source at a time
  for (index_t first = 0; first < count; first += line) {
    const index_t last = std::min(count, first + line);
    index_t j = 0;
    if constexpr (std::is_same_v<T, float>)
      if (step == 1 && last - first == line)
        for (; j + 4 <= used; j += 4)
          for (index_t i = first; i < last; i += 4)
            detail::transpose_4x4(panel + i * width + j, width, source + j * stride + i, stride);
    for (; j < used; ++j)
      for (index_t i = first; i < last; ++i) panel[i * width + j] = source[i * step + j * stride];
  }
}

}  // namespace sra::backend
