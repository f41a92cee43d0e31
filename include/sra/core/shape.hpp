// Static shapes: every extent is part of the type, only the batch is a number.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cstddef>
#include <string>
#include <type_traits>
#include <utility>

namespace sra {

namespace detail {

template <index_t... E>
inline constexpr index_t extent_list[sizeof...(E)] = {E...};

}  // namespace detail

/// The extents of a tensor.  Only the first may be `dynamic`; its value is `batch`.
/// A tensor is a batch of samples, a sample is a sequence of rows, a row has `width` neighbouring elements.
/// The batch alone, Shape<dynamic>, is a column: one element per sample.
template <index_t... E>
struct Shape {
  static_assert(sizeof...(E) > 0, "Shape: at least one extent");
  static_assert(((E > 0 || E == dynamic) && ...), "Shape: every extent is positive or sra::dynamic");

  static constexpr int rank = sizeof...(E);
  SRA_FN static constexpr index_t extent(int i) { return detail::extent_list<E...>[i]; }
  static constexpr bool batched = extent(0) == dynamic;
  static_assert(((E == dynamic) + ...) <= 1 && (batched || ((E != dynamic) && ...)),
                "Shape: only the first extent may be sra::dynamic");

  /// Elements per sample (of the whole tensor, when not batched).
  SRA_FN static constexpr index_t sample_size() {
    index_t n = 1;
    for (int i = batched; i < rank; ++i) n *= extent(i);
    return n;
  }
  /// The last extent; 1 for Shape<dynamic>.
  static constexpr index_t width = (batched && rank == 1) ? 1 : extent(rank - 1);
  /// Rows per sample.
  static constexpr index_t sample_rows = sample_size() / width;

  index_t batch = 1;

  SRA_FN constexpr index_t samples() const { return batched ? batch : 1; }
  SRA_FN constexpr index_t rows() const { return samples() * sample_rows; }
  SRA_FN constexpr index_t size() const { return samples() * sample_size(); }
};

namespace detail {

template <class S, index_t N, class I = std::make_index_sequence<S::rank>>
struct WithLast;
template <class S, index_t N, std::size_t... I>
struct WithLast<S, N, std::index_sequence<I...>> {
  using type = Shape<(I + 1 == sizeof...(I) ? N : S::extent(static_cast<int>(I)))...>;
};

template <class S, int Axis, class I = std::make_index_sequence<S::rank - 1>>
struct WithoutAxis;
template <class S, int Axis, std::size_t... I>
struct WithoutAxis<S, Axis, std::index_sequence<I...>> {
  using type = Shape<S::extent(static_cast<int>(I) < Axis ? static_cast<int>(I) : static_cast<int>(I) + 1)...>;
};

template <class S, int Axis, index_t N, class I = std::make_index_sequence<S::rank>>
struct WithExtent;
template <class S, int Axis, index_t N, std::size_t... I>
struct WithExtent<S, Axis, N, std::index_sequence<I...>> {
  using type = Shape<(static_cast<int>(I) == Axis ? N : S::extent(static_cast<int>(I)))...>;
};

}  // namespace detail

/// S with its last extent replaced by N.
template <class S, index_t N>
using with_last = typename detail::WithLast<S, N>::type;

/// S with extent Axis replaced by N.
template <class S, int Axis, index_t N>
using with_extent = typename detail::WithExtent<S, Axis, N>::type;

/// S without extent Axis.
template <class S, int Axis>
using without_axis = typename detail::WithoutAxis<S, Axis>::type;

namespace detail {

inline std::string extents_text(const index_t* extents, int rank, index_t batch) {
  std::string s = "[";
  for (int i = 0; i < rank; ++i) {
    if (i) s += ", ";
    s += std::to_string(extents[i] == dynamic ? batch : extents[i]);
  }
  return s + "]";
}

}  // namespace detail

/// "[32, 16, 64]" for messages.
template <index_t... E>
std::string to_string(Shape<E...> shape) {
  return detail::extents_text(detail::extent_list<E...>, shape.rank, shape.batch);
}

}  // namespace sra
