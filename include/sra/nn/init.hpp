// Initial values of parameters, drawn from randomness keyed by the parameter's name.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/philox.hpp>
#include <sra/core/view.hpp>

#include <cmath>
#include <cstdint>
#include <string_view>

namespace sra::init {

/// All zeros.
struct Zero {
  template <class W>
  static void fill(W* to, index_t size, index_t, index_t, const Rng&) {
    for (index_t i = 0; i < size; ++i) to[i] = 0;
  }
};

/// U(−a, a), a = √(6 / (fan_in + fan_out)).   Glorot and Bengio 2010.
struct XavierUniform {
  template <class W>
  static void fill(W* to, index_t size, index_t fan_out, index_t fan_in, const Rng& rng) {
    const double bound = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
    for (index_t i = 0; i < size; ++i)
      to[i] = static_cast<W>(bound * (2.0 * static_cast<double>(rng.uniform(i)) - 1.0));
  }
};

/// N(0, 0.02²).
struct Normal02 {
  template <class W>
  static void fill(W* to, index_t size, index_t, index_t, const Rng& rng) {
    for (index_t i = 0; i < size; ++i) to[i] = static_cast<W>(0.02 * rng.normal_double(i));
  }
};

/// All ones.
struct One {
  template <class W>
  static void fill(W* to, index_t size, index_t, index_t, const Rng&) {
    for (index_t i = 0; i < size; ++i) to[i] = 1;
  }
};

/// A 64-bit name: FNV-1a, so that a parameter's draws do not depend on what else the model has.
constexpr std::uint64_t name_key(std::string_view name) {
  std::uint64_t h = 14695981039346656037ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return h;
}

}  // namespace sra::init
