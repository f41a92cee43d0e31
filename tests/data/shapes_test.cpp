// Checks that the procedural pictures are valid, repeatable, smooth, and differ between classes in shape only.
// SPDX-License-Identifier: MIT
#include <sra/data/shapes.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using sra::index_t;

template <class Data>
std::vector<float> picture(std::size_t i, std::uint64_t seed, const Data& data = {}) {
  std::vector<float> image(static_cast<std::size_t>(Data::Sample::size), -9.0f);
  std::int32_t label = -1;
  data.read(i, sra::Rng(seed, sra::Purpose::data, 0, 5), {image, label});
  BOOST_TEST(label == static_cast<std::int32_t>(i % 10));
  return image;
}

constexpr int side = 32, cells = 12;
using Mask = std::vector<float>;

float pixel(const std::vector<float>& image, int y, int x, int c) {
  return image[static_cast<std::size_t>((y * side + x) * 3 + c)];
}

// Where the picture differs from the gradient between its corners by more than half of the largest difference.
Mask foreground(const std::vector<float>& image) {
  Mask difference;
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      float sum = 0;
      for (int c = 0; c < 3; ++c) {
        const float u = static_cast<float>(x) / (side - 1), v = static_cast<float>(y) / (side - 1);
        const float top = (1 - u) * pixel(image, 0, 0, c) + u * pixel(image, 0, side - 1, c);
        const float bottom = (1 - u) * pixel(image, side - 1, 0, c) + u * pixel(image, side - 1, side - 1, c);
        sum += std::fabs(pixel(image, y, x, c) - (1 - v) * top - v * bottom);
      }
      difference.push_back(sum);
    }
  const float limit = 0.5f * *std::max_element(difference.begin(), difference.end());
  for (auto& d : difference) d = d > limit ? 1.0f : 0.0f;
  return difference;
}

// The mask moved to its centroid and scaled to its root mean square radius, on a coarse grid, with mean 0 and norm 1.
Mask normalised(const Mask& mask) {
  double n = 0, cx = 0, cy = 0, square = 0;
  for (int y = 0; y < side; ++y)
    for (int x = 0; x < side; ++x) {
      const double m = static_cast<double>(mask[static_cast<std::size_t>(y * side + x)]);
      n += m, cx += m * x, cy += m * y, square += m * (x * x + y * y);
    }
  cx /= n, cy /= n;
  const double radius = std::sqrt(square / n - cx * cx - cy * cy);
  Mask out;
  for (int v = 0; v < cells; ++v)
    for (int u = 0; u < cells; ++u) {
      const auto at = [&](int k, double centre) {
        return static_cast<int>(std::lround(centre + radius * 2.0 * (2 * (k + 0.5) / cells - 1)));
      };
      const int x = at(u, cx), y = at(v, cy);
      out.push_back(x < 0 || y < 0 || x >= side || y >= side ? 0.0f : mask[static_cast<std::size_t>(y * side + x)]);
    }
  double sum = 0, norm = 0;
  for (const float a : out) sum += static_cast<double>(a);
  for (auto& a : out) a -= static_cast<float>(sum / static_cast<double>(out.size()));
  for (const float a : out) norm += static_cast<double>(a * a);
  for (auto& a : out) a /= static_cast<float>(std::sqrt(norm));
  return out;
}

float product(const Mask& a, const Mask& b) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(shapes)

BOOST_AUTO_TEST_CASE(values_are_finite_and_in_range) {
  for (std::size_t i = 0; i < 500; ++i) {
    const auto image = picture<sra::Shapes<>>(i, i);
    BOOST_TEST(std::all_of(image.begin(), image.end(), [](float x) { return x >= -1 && x <= 1; }));
    const auto [low, high] = std::minmax_element(image.begin(), image.end());
    BOOST_TEST(*high - *low > 0.3f);
  }
}

BOOST_AUTO_TEST_CASE(a_picture_depends_on_its_arguments_alone) {
  for (std::size_t i = 0; i < 10; ++i) {
    BOOST_TEST((picture<sra::Shapes<>>(i, 1) == picture<sra::Shapes<>>(i, 1)));
    BOOST_TEST((picture<sra::Shapes<>>(i, 1) != picture<sra::Shapes<>>(i, 2)));
    BOOST_TEST((picture<sra::Shapes<>>(i, 1) == picture<sra::Shapes<>>(i + 10, 1)));
    BOOST_TEST((picture<sra::Shapes<>>(i, 1) != picture<sra::Shapes<>>(i + 1, 1)));
  }
}

BOOST_AUTO_TEST_CASE(the_same_random_numbers_give_the_same_background_to_every_class) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto first = picture<sra::Shapes<>>(0, seed);
    for (std::size_t i = 1; i < 10; ++i) {
      const auto other = picture<sra::Shapes<>>(i, seed);
      for (const int y : {0, side - 1})
        for (const int x : {0, side - 1})
          for (int c = 0; c < 3; ++c) BOOST_TEST(pixel(other, y, x, c) == pixel(first, y, x, c));
    }
  }
}

// The nearest mean mask of its class names the class of a picture that was not part of the mean.
BOOST_AUTO_TEST_CASE(classes_are_told_apart_by_shape) {
  const std::size_t known = 400, asked = 400;
  std::vector<Mask> mean(10, Mask(cells * cells));
  for (std::size_t i = 0; i < known; ++i) {
    const auto mask = normalised(foreground(picture<sra::Shapes<>>(i, i)));
    for (std::size_t k = 0; k < mask.size(); ++k) mean[i % 10][k] += mask[k] / 40;
  }
  int right = 0;
  std::vector<std::vector<float>> matched(10, std::vector<float>(10));  // [class of the picture][class of the mean]
  for (std::size_t i = known; i < known + asked; ++i) {
    const auto mask = normalised(foreground(picture<sra::Shapes<>>(i, i)));
    std::vector<float> match;
    for (const auto& m : mean) match.push_back(product(m, mask) / std::sqrt(product(m, m)));
    const auto best = static_cast<std::size_t>(std::max_element(match.begin(), match.end()) - match.begin());
    right += best == i % 10;
    for (std::size_t c = 0; c < 10; ++c) matched[i % 10][c] += match[c] / 40;
  }
  BOOST_TEST(right > 360);  // by chance 40, with a standard deviation of 6
  for (std::size_t a = 0; a < 10; ++a)
    for (std::size_t b = 0; b < 10; ++b) BOOST_TEST((a == b || matched[a][a] > matched[a][b]), a << " against " << b);
}

// Geometry scales with the picture, so a small picture is the mean of the pixels of a large one.  They differ where
// edges are: a tenth of the pixels, by an eighth of coverage, times the largest contrast, 2.
BOOST_AUTO_TEST_CASE(edges_are_smoothed_over_a_pixel) {
  for (std::size_t i = 0; i < 30; ++i) {
    const auto small = picture<sra::Shapes<32>>(i, i), large = picture<sra::Shapes<128>>(i, i);
    double difference = 0;
    for (int y = 0; y < 32; ++y)
      for (int x = 0; x < 32; ++x)
        for (int c = 0; c < 3; ++c) {
          float sum = 0;
          for (int v = 0; v < 4; ++v)
            for (int u = 0; u < 4; ++u) sum += large[static_cast<std::size_t>(((4 * y + v) * 128 + 4 * x + u) * 3 + c)];
          difference += static_cast<double>(std::fabs(sum / 16 - pixel(small, y, x, c)));
        }
    BOOST_TEST(difference / (32 * 32 * 3) < 0.1 * 0.125 * 2);
  }
}

BOOST_AUTO_TEST_CASE(a_shape_is_as_large_as_asked_for) {
  const auto area = [](const sra::Shapes<side>& data) {
    float sum = 0;
    for (std::size_t i = 0; i < 50; ++i)
      for (const float x : foreground(picture(i, i, data))) sum += x;
    return sum;
  };
  // Areas are as the squares of the radii, which a shadow blurs.
  const float small = area({.smallest = 0.2f, .largest = 0.2f}), large = area({.smallest = 0.4f, .largest = 0.4f});
  BOOST_TEST(large > 3 * small);
  BOOST_TEST(large < 5 * small);
  BOOST_CHECK_EXCEPTION(area({.smallest = 0.3f, .largest = 0.5f}), sra::Error, [](const sra::Error& e) {
    return std::string(e.what()) == "Shapes: expected 0 < smallest <= largest <= 0.43, got smallest 0.3, largest 0.5";
  });
}

BOOST_AUTO_TEST_CASE(pictures_need_not_be_square) {
  using Wide = sra::Shapes<16, 48>;
  static_assert(sra::Dataset<Wide> && sra::endless<Wide> && Wide::Sample::height == 16 && Wide::Sample::width == 48);
  float low = 0, high = 0;
  for (std::size_t i = 0; i < 50; ++i) {
    const auto image = picture<Wide>(i, i);
    BOOST_TEST(std::all_of(image.begin(), image.end(), [](float x) { return x >= -1 && x <= 1; }));
    low = std::min(low, *std::min_element(image.begin(), image.end()));
    high = std::max(high, *std::max_element(image.begin(), image.end()));
  }
  BOOST_TEST(high - low > 1.0f);
}

BOOST_AUTO_TEST_SUITE_END()
