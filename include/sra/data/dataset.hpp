// What a data set is: a pure function from an index and random numbers to one sample.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/core/philox.hpp>
#include <sra/core/shape.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace sra {

/// The kind of sample that is an image [H, W, C] of floats, nominally in [-1, 1], with a class label.  A type that derives
/// from it may add `static constexpr index_t condition_size = K`, for models whose condition is Vector<K>, and
/// `feature_size = N`, further numbers for the alignment.
template <index_t C, index_t H, index_t W>
struct Image {
  static_assert(C > 0 && H > 0 && W > 0, "Image<C, H, W>: every extent must be positive");
  static constexpr index_t channels = C;
  static constexpr index_t height = H;
  static constexpr index_t width = W;
  static constexpr index_t size = C * H * W;
  /// The shape of a batch of them.
  using shape = Shape<dynamic, H, W, C>;
};

/// What a sample's type has to tell; derive from Image to add to it.
template <class S>
concept ImageLike = requires {
  typename S::shape;
  requires S::size == S::channels* S::height* S::width;
};

/// Numbers of a sample that are the model's condition: the type's condition_size, or 0.
template <ImageLike S>
inline constexpr index_t condition_size = [] {
  if constexpr (requires { S::condition_size; })
    return index_t{S::condition_size};
  else
    return index_t{0};
}();
/// Numbers of a sample that only the alignment sees: the type's feature_size, or 0.
template <ImageLike S>
inline constexpr index_t feature_size = [] {
  if constexpr (requires { S::feature_size; })
    return index_t{S::feature_size};
  else
    return index_t{0};
}();

/// Where a data set writes one sample.
template <ImageLike Sample>
struct Row {
  std::span<float> image;        ///< [H, W, C], row-major; all of it must be written
  std::int32_t& label;           ///< in [0, classes), 0 if there are none
  std::span<float> condition{};  ///< condition_size<Sample> numbers, all of which must be written
  std::span<float> features{};   ///< feature_size<Sample> numbers, all of which must be written
};

/// A source of samples.  `read(i, rng, out)` is called from several threads and depends on its arguments alone.
/// Optional: `size()`, without which the source is endless, and `classes()`.  What `read` throws reaches the caller
/// of the Prefetcher, except UnreadableSample, which moves on to the next item.
template <class D>
concept Dataset = ImageLike<typename D::Sample> &&
    requires(const D& data, std::size_t i, Rng rng, Row<typename D::Sample> out) {
  data.read(i, rng, out);
};

/// A data set of a known number of items; Prefetcher goes through them in a new order every epoch.
template <class D>
concept Finite = Dataset<D> && requires(const D& data) {
  { data.size() } -> std::convertible_to<std::size_t>;
};

/// Whether the data set has an item for every index.
template <Dataset D>
inline constexpr bool endless = !Finite<D>;

/// The number of classes, where the data set knows it.
template <Dataset D>
std::optional<int> class_count(const D& data) {
  if constexpr (requires { static_cast<int>(data.classes()); })
    return static_cast<int>(data.classes());
  else
    return std::nullopt;
}

/// Thrown by `read` for an item that cannot be read: it is counted, named, and replaced by the next item.
class UnreadableSample : public Error {
 public:
  using Error::Error;
};

/// Throws unless 0 <= label < classes.  @param who names the item in the message: "data: item 17"
inline void check_label(index_t label, index_t classes, std::string_view who) {
  if (label < 0 || label >= classes) throw Error(text(who, ": expected a label in [0, ", classes, "), got ", label));
}

}  // namespace sra
