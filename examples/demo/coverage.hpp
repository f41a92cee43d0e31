// How varied pictures of shapes are: shapes, colours and places that occur, and near-duplicates.
// SPDX-License-Identifier: MIT
#pragma once

#include "model.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace demo {

/// How many different ones occur among some pictures.
struct Coverage {
  static constexpr int hues = 12, places = 9;
  int shapes = 0;              ///< of 10, as the judge sees them
  int colours = 0;             ///< of 12 hues of the shape
  int positions = 0;           ///< of 3 x 3 places of its centre
  int combinations = 0;        ///< of shape, colour and place
  double median_distance = 0;  ///< to the nearest other picture, root mean square over pixels, in [0, 2]
  std::vector<double> distances{};
};

/// @param classes what the judge calls the pictures; those without a shape do not count
Coverage coverage(const Pictures& pictures, std::span<const std::int32_t> classes);

/// The distance below which one of a hundred real pictures has its nearest neighbour.
double duplicate_distance(const Coverage& real);
/// The share of pictures whose nearest neighbour is nearer than that.
double duplicates(const Coverage& of, double distance);

}  // namespace demo
