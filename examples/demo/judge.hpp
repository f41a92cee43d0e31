// An independent judge of samples: a small vision transformer that says which shape a picture shows, or that it shows none.
// SPDX-License-Identifier: MIT
#pragma once

#include "model.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace demo {

/// Trained on fresh pictures of the data set, and on pictures that show no shape: so empty, noisy and half-drawn samples are
/// not given to the class that is nearest.
class Judge {
 public:
  /// What `classes` calls a picture without a shape.
  static constexpr std::int32_t none = 10;

  /// @param threads 0: all cores
  explicit Judge(std::uint64_t seed, int threads = 0);
  ~Judge();

  /// Trains on so many batches of 64.  @return false if a signal came
  bool train(index_t steps, const sra::SignalGuard& signals);
  /// @param images [N, side, side, 3] in [-1, 1]  @return N numbers, a class or none
  std::vector<std::int32_t> classes(std::span<const float> images);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// Pictures that no training sees: real ones, or ones without a shape (label Judge::none).
Pictures real_pictures(index_t count, std::uint64_t seed);
Pictures spoilt_pictures(index_t count, std::uint64_t seed);
/// Real ones whose shape was painted over.
Pictures blank_pictures(index_t count, std::uint64_t seed);

/// The share of pictures whose class is the one expected.
sra::Estimate share(std::span<const std::int32_t> classes, std::span<const std::int32_t> expected);

}  // namespace demo
