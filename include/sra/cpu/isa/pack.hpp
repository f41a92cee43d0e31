// Copies blocks of a matrix into the layout that the inner kernels of the matrix product read.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <algorithm>
#include <cstring>
#include <type_traits>

namespace sra::backend {

/// panel[i * width + j] = source[i * step + j * stride] for i < count, j < used; 0 for used <= j < width: a panel of `used`
/// rows or columns that are `stride` apart, `count` long with `step` between neighbours.  Source and panel are apart.
template <class T>
void pack_panel(T* panel, index_t width, index_t used, index_t count, const T* source, index_t step, index_t stride) {
  if (used < width)
    for (index_t i = 0; i < count; ++i) std::fill(panel + i * width + used, panel + (i + 1) * width, T{});
  if (stride == 1) {
    for (index_t i = 0; i < count; ++i)
      std::memcpy(panel + i * width, source + i * step, static_cast<std::size_t>(used) * sizeof(T));
    return;
  }
  index_t j = 0;
  if constexpr (std::is_same_v<T, float>) {
    typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
    for (; step == 1 && j + 4 <= used; j += 4) {
      const float* s = source + j * stride;
      index_t i = 0;
      for (; i + 4 <= count; i += 4) {  // transposes 4 x 4
        const Four a = *reinterpret_cast<const Four*>(s + i), b = *reinterpret_cast<const Four*>(s + stride + i);
        const Four c = *reinterpret_cast<const Four*>(s + 2 * stride + i);
        const Four d = *reinterpret_cast<const Four*>(s + 3 * stride + i);
        const Four ab0 = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab1 = __builtin_shufflevector(a, b, 2, 6, 3, 7);
        const Four cd0 = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd1 = __builtin_shufflevector(c, d, 2, 6, 3, 7);
        float* p = panel + i * width + j;
        *reinterpret_cast<Four*>(p) = __builtin_shufflevector(ab0, cd0, 0, 1, 4, 5);
        *reinterpret_cast<Four*>(p + width) = __builtin_shufflevector(ab0, cd0, 2, 3, 6, 7);
        *reinterpret_cast<Four*>(p + 2 * width) = __builtin_shufflevector(ab1, cd1, 0, 1, 4, 5);
        *reinterpret_cast<Four*>(p + 3 * width) = __builtin_shufflevector(ab1, cd1, 2, 3, 6, 7);
      }
      for (; i < count; ++i)
        for (index_t l = 0; l < 4; ++l) panel[i * width + j + l] = s[l * stride + i];
    }
  }
  for (; j < used; ++j)
    for (index_t i = 0; i < count; ++i) panel[i * width + j] = source[i * step + j * stride];
}

}  // namespace sra::backend
