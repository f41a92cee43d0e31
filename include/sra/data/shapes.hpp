// Procedural pictures of ten shapes: the data set of demos and tests, which needs no file.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/data/dataset.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <string_view>

namespace sra {

namespace detail {

struct Point {
  float x, y;
};

struct Colour {
  float r, g, b;
};

inline float length(float x, float y) { return std::sqrt(x * x + y * y); }

/// A colour by lightness, chroma and hue (in turns), clipped to [0, 1]: Oklab, Ottosson 2020, "A perceptual color space
/// for image processing", with the transfer function of sRGB.
inline Colour oklch(float lightness, float chroma, float hue) {
  const float a = chroma * std::cos(6.2831853f * hue), b = chroma * std::sin(6.2831853f * hue);
  const auto cube = [](float x) { return x * x * x; };
  const float l = cube(lightness + 0.3963377774f * a + 0.2158037573f * b);
  const float m = cube(lightness - 0.1055613458f * a - 0.0638541728f * b);
  const float s = cube(lightness - 0.0894841775f * a - 1.2914855480f * b);
  const auto encode = [](float x) {
    x = std::clamp(x, 0.0f, 1.0f);
    return x < 0.0031308f ? 12.92f * x : 1.055f * std::pow(x, 1 / 2.4f) - 0.055f;
  };
  return {encode(4.0767416621f * l - 3.3077115913f * m + 0.2309699292f * s),
          encode(-1.2684380046f * l + 2.6097574011f * m - 0.3413193965f * s),
          encode(-0.0041960863f * l - 0.7034186147f * m + 1.7076147010f * s)};
}

// Signed distances of shapes of about the same area, y up, negative inside.  Between two edges that meet in an outer
// corner it is the larger distance to their lines, which keeps corners sharp.

inline float disc(Point p) { return length(p.x, p.y) - 0.80f; }

inline float square(Point p) { return std::max(std::fabs(p.x), std::fabs(p.y)) - 0.72f; }

inline float triangle(Point p) { return std::max(-p.y - 0.56f, 0.8660254f * std::fabs(p.x) + 0.5f * p.y - 0.56f); }

inline float diamond(Point p) { return 0.85f * std::fabs(p.x) + 0.5267827f * std::fabs(p.y) - 0.57f; }

/// Five tips: folded into the half sector of one tip by the mirrors at 36 and 72 degrees, then one edge.
inline float star(Point p) {
  p.x = std::fabs(p.x);
  const float d1 = 2 * std::max(0.0f, 0.8090170f * p.x - 0.5877853f * p.y);
  p = {p.x - d1 * 0.8090170f, p.y + d1 * 0.5877853f};
  const float d2 = 2 * std::max(0.0f, -0.8090170f * p.x - 0.5877853f * p.y);
  p = {std::fabs(p.x + d2 * 0.8090170f), p.y + d2 * 0.5877853f};
  return 0.8480481f * p.x + 0.5299192f * (p.y - 1.08f);
}

inline float cross(Point p) {
  const float x = std::fabs(p.x), y = std::fabs(p.y);
  return std::min(std::max(x - 0.92f, y - 0.31f), std::max(x - 0.31f, y - 0.92f));
}

inline float ring(Point p) { return std::fabs(length(p.x, p.y) - 0.70f) - 0.20f; }

inline float crescent(Point p) { return std::max(length(p.x + 0.12f, p.y) - 0.95f, 0.76f - length(p.x - 0.36f, p.y)); }

/// A square on its corner between two discs.
inline float heart(Point p) {
  const float x = std::fabs(p.x), y = p.y + 0.18f, r = 0.7071068f;
  const float box = std::max(std::fabs(r * (x + y)), std::fabs(r * (x - y))) - 0.56f;
  return std::min(box, length(x - 0.396f, y - 0.396f) - 0.56f);
}

/// A disc and its tangents from a point above.
inline float drop(Point p) {
  const float y = p.y + 0.28f;
  const float cone = std::max(0.8944272f * std::fabs(p.x) + 0.4472136f * y - 0.62f, -y);
  return std::min(length(p.x, y) - 0.62f, cone);
}

inline constexpr std::array<float (*)(Point), 10> shape_distances = {disc,  square, triangle, diamond, star,
                                                                     cross, ring,   crescent, heart,   drop};

}  // namespace detail

/// Endless pictures of ten classes, which differ in shape only: place, size, a rotation of up to 20 degrees, colours,
/// the background's gradient and the direction of the light are random.  Edges are smoothed over one pixel, values are in
/// [-1, 1], the label of item i is i mod 10.  The pictures depend on i and the random numbers, to the last bit for one
/// build of a program; float arithmetic may differ between compilers.
template <index_t Height = 32, index_t Width = Height>
struct Shapes {
  static_assert(Height >= 8 && Width >= 8, "Shapes<Height, Width>: both must be at least 8");
  using Sample = Image<3, Height, Width>;

  /// Of a shape's radius, as shares of the shorter side: 0 < smallest <= largest <= 0.43.  Large shapes vary less in
  /// place and are easier to learn.
  float smallest = 0.24f, largest = 0.37f;

  static constexpr std::array<std::string_view, 10> names = {"disc",  "square", "triangle", "diamond", "star",
                                                             "cross", "ring",   "crescent", "heart",   "drop"};

  int classes() const { return 10; }

  void read(std::size_t i, Rng rng, Row<Sample> out) const {
    if (!(0 < smallest && smallest <= largest && largest <= 0.43f))
      throw Error(
          text("Shapes: expected 0 < smallest <= largest <= 0.43, got smallest ", smallest, ", largest ", largest));
    const auto label = i % names.size();
    out.label = static_cast<std::int32_t>(label);
    const Scene scene(rng, *this);
    scene.draw(detail::shape_distances[label], out.image);
  }

 private:
  struct Scene {
    detail::Point centre, shadow, axis, slope, light;
    float radius;
    detail::Colour from, to, fill;

    Scene(Rng rng, const Shapes& shapes) {
      Stream draw(rng);
      constexpr auto side = static_cast<float>(Height < Width ? Height : Width);
      radius = side * draw.uniform(shapes.smallest, shapes.largest);
      const float margin = 1.15f * radius;
      centre = {draw.uniform(margin, static_cast<float>(Width) - margin),
                draw.uniform(margin, static_cast<float>(Height) - margin)};
      const float angle = draw.uniform(-0.35f, 0.35f);
      axis = {std::cos(angle), std::sin(angle)};
      const float direction = draw.uniform(0.0f, 6.2831853f);
      slope = {std::cos(direction) / side, std::sin(direction) / side};
      const float lamp = draw.uniform(0.0f, 6.2831853f);
      light = {std::cos(lamp), std::sin(lamp)};
      shadow = {-0.16f * radius * light.x, -0.16f * radius * light.y};

      const bool dark = draw.uniform() < 0.5f;
      const float hue = draw.uniform(), other = hue + draw.uniform(-0.12f, 0.12f);
      const float lightness = dark ? draw.uniform(0.22f, 0.38f) : draw.uniform(0.80f, 0.92f);
      const float chroma = dark ? draw.uniform(0.03f, 0.09f) : draw.uniform(0.02f, 0.07f);
      from = detail::oklch(lightness + 0.06f, chroma, hue);
      to = detail::oklch(lightness - 0.06f, chroma, other);
      const float contrast = dark ? draw.uniform(0.68f, 0.84f) : draw.uniform(0.48f, 0.66f);
      fill = detail::oklch(contrast, draw.uniform(0.12f, 0.20f), hue + draw.uniform(0.2f, 0.8f));
    }

    void draw(float (*distance)(detail::Point), std::span<float> image) const {
      float* out = image.data();
      for (index_t row = 0; row < Height; ++row)
        for (index_t column = 0; column < Width; ++column, out += 3) {
          const detail::Point at = {static_cast<float>(column) + 0.5f - centre.x,
                                    static_cast<float>(row) + 0.5f - centre.y};
          pixel(distance, at, out);
        }
    }

    /// How much of a pixel is covered, `softness` pixels wide.
    float cover(float (*distance)(detail::Point), detail::Point at, float softness) const {
      const detail::Point turned = {(axis.x * at.x + axis.y * at.y) / radius, (axis.y * at.x - axis.x * at.y) / radius};
      return std::clamp(0.5f - distance(turned) * radius / softness, 0.0f, 1.0f);
    }

    void pixel(float (*distance)(detail::Point), detail::Point at, float* out) const {
      const float mix = std::clamp(0.5f + slope.x * at.x + slope.y * at.y, 0.0f, 1.0f);
      const bool near = std::max(std::fabs(at.x), std::fabs(at.y)) < 1.6f * radius;
      const float inside = near ? cover(distance, at, 1.0f) : 0.0f;
      const float shade =
          near && inside < 1 ? cover(distance, {at.x - shadow.x, at.y - shadow.y}, 0.35f * radius) : 0.0f;
      const float glow = 1 + 0.16f * (light.x * at.x + light.y * at.y) / radius;
      const auto channel = [&](float a, float b, float c) {
        const float behind = (a + mix * (b - a)) * (1 - 0.30f * shade);
        return std::clamp(2 * (behind + inside * (std::min(c * glow, 1.0f) - behind)) - 1, -1.0f, 1.0f);
      };
      out[0] = channel(from.r, to.r, fill.r);
      out[1] = channel(from.g, to.g, fill.g);
      out[2] = channel(from.b, to.b, fill.b);
    }
  };
};

}  // namespace sra
