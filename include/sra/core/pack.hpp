// A trivially copyable tuple, so that a pullback may capture it and a kernel may take it by value (std::tuple is neither).
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cstddef>
#include <utility>

namespace sra {

namespace detail {

template <std::size_t I, class V>
struct PackItem {
  V item;
};

template <class Indices, class... V>
struct PackOf;
template <std::size_t... I, class... V>
struct PackOf<std::index_sequence<I...>, V...> : PackItem<I, V>... {
  constexpr decltype(auto) apply(auto&& f) const { return f(static_cast<const PackItem<I, V>&>(*this).item...); }
};

}  // namespace detail

/// Values side by side; `apply(f)` calls f with all of them.
/// A struct and not an alias, because g++ 12 cannot mangle an alias over index_sequence_for in signatures.
template <class... V>
struct Pack : detail::PackOf<std::index_sequence_for<V...>, V...> {};

/// Makes a Pack of copies.
template <class... V>
constexpr Pack<V...> pack(V... v) {
  return {{{v}...}};
}

/// Element I of a Pack.
template <std::size_t I, class V>
SRA_FN constexpr const V& get(const detail::PackItem<I, V>& item) {
  return item.item;
}

}  // namespace sra
