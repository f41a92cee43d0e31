// What attention is on every backend: what it costs, and the groups of its mask.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/launch.hpp>
#include <sra/core/config.hpp>
#include <sra/core/error.hpp>

#include <cstddef>
#include <cstdint>

namespace sra::detail {

/// Products with queries and keys as matrices: two forward, which reads q, k, v and writes o, or five backward, which reads dy,
/// too, and writes dq, dk, dv.
inline Cost attention_cost(index_t samples, index_t queries, index_t keys, index_t width, std::size_t element,
                           int products) {
  return {double(element) * double(samples * (queries + keys) * width) * (products > 2 ? 4 : 2),
          2.0 * products * double(samples) * double(queries) * double(keys) * double(width)};
}

/// The groups of a mask that has some, [samples, tokens] without gaps, or null.  Q, K: shapes of queries and keys.
template <class Q, class K, class Mask>
const std::int32_t* attention_groups(index_t samples, const Mask& mask) {
  if constexpr (requires { mask.group; }) {
    static_assert(Q::sample_rows == K::sample_rows && decltype(mask.group)::shape_type::sample_size() == Q::sample_rows,
                  "attention: SameGroup needs one group for every token, and as many queries as keys");
    if (mask.group.shape.samples() != samples)
      throw Error(
          text("attention: SameGroup: expected groups of ", samples, " samples, got ", mask.group.shape.samples()));
    if (!mask.group.contiguous())
      throw Error("attention: SameGroup: expected groups [B, T] without gaps, got a part of a larger tensor");
    return mask.group.data;
  } else {
    return nullptr;
  }
}

}  // namespace sra::detail
