// Whether two gradients may share elements, so that kernels must write them one after the other.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/expr/pointwise.hpp>

#include <cstddef>
#include <cstdlib>
#include <type_traits>

namespace sra::detail {

/// Whether two gradients are overlapping parts of one value, so that two tasks may add to one element.  The same part twice
/// is none: each of its elements belongs to one task.
template <class G, class H>
bool overlap(const G& a, const H& b) {
  if constexpr (std::is_same_v<G, NoGrad> || std::is_same_v<H, NoGrad>) {
    return false;
  } else {
    if (!a || !b) return false;
    const auto* first_a = reinterpret_cast<const std::byte*>(a.to.data);
    const auto* first_b = reinterpret_cast<const std::byte*>(b.to.data);
    const auto* last_a = reinterpret_cast<const std::byte*>(a.to.data + a.to.span());
    const auto* last_b = reinterpret_cast<const std::byte*>(b.to.data + b.to.span());
    if (first_a == first_b || last_a <= first_b || last_b <= first_a) return false;
    if constexpr (std::is_same_v<G, H>) {  // columns side by side, as split makes them
      constexpr index_t width = decltype(a.to)::shape_type::width;
      const index_t pitch = a.to.row_stride(), beside = std::abs(a.to.data - b.to.data) % pitch;
      if (a.to.uniform() && b.to.uniform() && b.to.row_stride() == pitch && beside >= width && pitch - beside >= width)
        return false;
    }
    return true;
  }
}

}  // namespace sra::detail
