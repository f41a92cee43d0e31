// Finds a picture's shape by its contrast with the border, and counts what occurs.
// SPDX-License-Identifier: MIT
#include "coverage.hpp"

#include <sra/extra/neighbours.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <set>
#include <tuple>

namespace demo {

namespace {

struct Figure {
  int hue, place;
};

/// The mean colour and place of what differs from the border, weighted by the square of the difference.
Figure figure_of(const float* picture) {
  std::array<double, 3> border{}, colour{};
  const auto at = [&](int i, std::size_t c) { return static_cast<double>(picture[3 * i + static_cast<int>(c)]); };
  for (int i = 0; i < side * side; ++i)
    if (i % side == 0 || i % side == side - 1 || i < side || i >= side * (side - 1))
      for (std::size_t c = 0; c < 3; ++c) border[c] += at(i, c) / (4 * side - 4);
  double total = 1e-9, x = 0, y = 0;
  for (int i = 0; i < side * side; ++i) {
    double weight = 0;
    for (std::size_t c = 0; c < 3; ++c) weight += std::pow(at(i, c) - border[c], 2);
    for (std::size_t c = 0; c < 3; ++c) colour[c] += weight * at(i, c);
    total += weight;
    x += weight * (i % side + 0.5) / side;
    y += weight * (i / side + 0.5) / side;
  }
  const double angle = std::atan2(std::sqrt(3.0) * (colour[1] - colour[2]), 2 * colour[0] - colour[1] - colour[2]);
  const auto third = [&](double place) {
    constexpr double least = 1.15 * data.smallest;  // of the centres of real shapes
    return std::clamp(static_cast<int>(3 * (place / total - least) / (1 - 2 * least)), 0, 2);
  };
  const int hue = static_cast<int>((angle / (2 * std::numbers::pi) + 0.5) * Coverage::hues);
  return {std::min(hue, Coverage::hues - 1), 3 * third(y) + third(x)};
}

}  // namespace

Coverage coverage(const Pictures& pictures, std::span<const std::int32_t> classes) {
  std::set<int> shapes, colours, places;
  std::set<std::tuple<int, int, int>> combinations;
  for (index_t i = 0; i < pictures.count(); ++i) {
    const int shape = classes[static_cast<std::size_t>(i)];
    if (shape >= 10) continue;
    const Figure f = figure_of(pictures.values.data() + i * picture_size);
    shapes.insert(shape), colours.insert(f.hue), places.insert(f.place);
    combinations.insert({shape, f.hue, f.place});
  }
  const auto count = [](const auto& set) { return static_cast<int>(set.size()); };
  Coverage c{count(shapes), count(colours), count(places), count(combinations)};
  const auto rows = sra::dense(pictures.values.data(), Shape<dynamic, picture_size>{pictures.count()});
  c.distances = sra::nearest_distances(sra::as_eigen(rows));
  std::ranges::sort(c.distances);
  c.median_distance = c.distances[c.distances.size() / 2];
  return c;
}

double duplicate_distance(const Coverage& real) { return real.distances[real.distances.size() / 100]; }

double duplicates(const Coverage& of, double distance) {
  const auto nearer = std::ranges::lower_bound(of.distances, distance) - of.distances.begin();
  return static_cast<double>(nearer) / static_cast<double>(of.distances.size());
}

}  // namespace demo
