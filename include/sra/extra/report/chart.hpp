// Curves as SVG: drawn twice, for wide and for narrow pages, in the colours of the page.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/extra/report/markup.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sra::report {

/// A point of a curve.
struct Point {
  double x = 0, y = 0, error = 0;  ///< error: half the length of a bar
};

/// One curve.
struct Series {
  std::vector<Point> points;  ///< with rising x
  int colour = 0;             ///< number of the run
  bool marked = false;        ///< every point has a dot and its bar
};

/// One pair of axes.
struct Chart {
  std::vector<Series> series{};
  std::string x_label{}, y_label{}, description{};
  double height = 250;
  bool zero_line = false;  ///< the range of y holds 0, which has a line
};

/// Round numbers within [low, high], some `wanted` of them.
inline std::vector<double> ticks(double low, double high, int wanted, bool whole = false) {
  if (!(high > low) || wanted < 1) return {low};
  const double rough = (high - low) / wanted, power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = power * 10;
  for (const double factor : {5.0, 2.0, 1.0})
    if (factor * power >= rough) step = factor * power;
  if (whole) step = std::max(1.0, std::round(step));
  std::vector<double> all;
  for (double i = std::ceil(low / step - 1e-9); i * step <= high + 1e-9 * step; ++i) all.push_back(i * step);
  return all;
}

/// At most `most` points, each the mean of as many neighbours; marked ones are left out instead, but the last.
inline std::vector<Point> thinned(std::span<const Point> points, std::size_t most, bool mean) {
  const std::size_t each = (points.size() + most - 1) / std::max<std::size_t>(1, most);
  if (each <= 1) return {points.begin(), points.end()};
  std::vector<Point> all;
  for (std::size_t i = 0; i < points.size(); i += each) {
    const std::size_t n = std::min(each, points.size() - i);
    Point sum;
    for (std::size_t k = 0; k < n; ++k) sum.x += points[i + k].x, sum.y += points[i + k].y;
    const double count = static_cast<double>(n);
    all.push_back(mean ? Point{sum.x / count, sum.y / count, 0} : points[i + n - 1]);
  }
  return all;
}

namespace detail {

struct Range {
  double low = 0, high = 1;
};

/// What of y is shown: all of it, but long curves may leave it upwards and downwards in their first twentieth.
inline Range range_of(const Chart& chart) {
  double low = chart.zero_line ? 0 : INFINITY, high = chart.zero_line ? 0 : -INFINITY;
  for (const Series& s : chart.series)
    for (std::size_t i = s.points.size() < 40 ? 0 : s.points.size() / 20; i < s.points.size(); ++i) {
      low = std::min(low, s.points[i].y - s.points[i].error);
      high = std::max(high, s.points[i].y + s.points[i].error);
    }
  if (!(low <= high)) return {};
  const double margin = high > low ? 0.06 * (high - low) : high != 0 ? 0.1 * std::abs(high) : 0.01;
  return {low - margin, high + margin};
}

/// One drawing of a chart at a width, whose texts are of the page's size.
class Drawing {
 public:
  Drawing(const Chart& chart, double width) : chart_(chart), width_(width), y_(range_of(chart)) {
    x_ = {INFINITY, -INFINITY};
    for (const Series& s : chart.series)
      for (const Point& p : s.points) x_ = {std::min(x_.low, p.x), std::max(x_.high, p.x)};
    if (!(x_.low <= x_.high)) x_ = {};
    if (x_.low == x_.high) x_ = {x_.low - 0.5, x_.high + 0.5};
  }

  std::string svg(const char* of_page) const {
    std::string s = text("<svg class=\"chart ", of_page, "\" viewBox=\"0 0 ", width_, " ", chart_.height,
                         "\" role=\"img\" aria-label=\"", escaped(chart_.description), "\">");
    s += axes();
    const std::string frame = text("x=\"", left - 4, "\" y=\"", top - 4, "\" width=\"", width_ - left - right + 8,
                                   "\" height=\"", chart_.height - top - bottom() + 8, "\"");
    s += text("<svg ", frame, " viewBox=\"", left - 4, ' ', top - 4, ' ', width_ - left - right + 8, ' ',
              chart_.height - top - bottom() + 8, "\">");  // curves end at its border
    for (const Series& series : chart_.series) s += series.marked ? marks(series) : curve(series);
    return s + "</svg></svg>\n";
  }

 private:
  static constexpr double left = 58, right = 10, top = 28;
  double bottom() const { return chart_.x_label.empty() ? 8 : 38; }
  double at_x(double x) const { return left + (x - x_.low) / (x_.high - x_.low) * (width_ - left - right); }
  double at_y(double y) const {
    const double part = (y - y_.low) / (y_.high - y_.low);
    return chart_.height - bottom() - part * (chart_.height - bottom() - top);
  }
  static std::string place(double v) {
    char s[32];
    std::snprintf(s, sizeof s, "%.1f", std::clamp(v, -1e4, 1e4));
    return s;
  }

  std::string axes() const {
    const auto ys = ticks(y_.low, y_.high, std::max(2, static_cast<int>(chart_.height / 40)));
    const int digits = ys.size() > 1 ? digits_for(ys[1] - ys[0], 1) : 3;
    std::string s = text("<text class=\"axis\" x=\"0\" y=\"11\">", escaped(chart_.y_label), "</text>");
    for (const double y : ys) {
      const std::string v = place(at_y(y));
      const bool zero = chart_.zero_line && std::abs(y) < 1e-12;
      s += text("<line class=\"", zero ? "zero" : "grid", "\" x1=\"", left, "\" x2=\"", width_ - right, "\" y1=\"", v,
                "\" y2=\"", v, "\"/><text class=\"tick\" text-anchor=\"end\" x=\"", left - 8, "\" y=\"",
                place(at_y(y) + 4), "\">", chart_.zero_line ? signed_fixed(y, digits) : fixed(y, digits), "</text>");
    }
    if (chart_.x_label.empty()) return s;
    for (const double x : ticks(x_.low, x_.high, std::max(2, static_cast<int>(width_ / 85)), true))
      s += text("<text class=\"tick\" text-anchor=\"middle\" x=\"", place(std::min(at_x(x), width_ - right - 14)),
                "\" y=\"", chart_.height - 20, "\">", grouped(static_cast<index_t>(x)), "</text>");
    return s + text("<text class=\"axis\" text-anchor=\"middle\" x=\"", (left + width_ - right) / 2, "\" y=\"",
                    chart_.height - 3, "\">", escaped(chart_.x_label), "</text>");
  }

  std::string curve(const Series& series) const {
    std::string path;
    for (const Point& p : thinned(series.points, static_cast<std::size_t>(width_ / 2.5), true))
      path += text(path.empty() ? "M" : "L", place(at_x(p.x)), " ", place(at_y(p.y)));
    return text("<path class=\"curve c", series.colour % 8, "\" d=\"", path, "\"/>");
  }
  std::string marks(const Series& series) const {
    std::string path, dots;
    for (const Point& p : thinned(series.points, static_cast<std::size_t>(width_ / 12), false)) {
      const std::string x = place(at_x(p.x)), y = place(at_y(p.y));
      path += text(path.empty() ? "M" : "L", x, " ", y);
      if (p.error > 0)
        dots += text("<line class=\"bar c", series.colour % 8, "\" x1=\"", x, "\" x2=\"", x, "\" y1=\"",
                     place(at_y(p.y - p.error)), "\" y2=\"", place(at_y(p.y + p.error)), "\"/>");
      dots += text("<circle class=\"dot c", series.colour % 8, "\" cx=\"", x, "\" cy=\"", y, "\" r=\"2.6\"/>");
    }
    return text("<path class=\"thin c", series.colour % 8, "\" d=\"", path, "\"/>", dots);
  }

  const Chart& chart_;
  double width_;
  Range x_, y_;
};

}  // namespace detail

/// A chart for pages of every width.
inline std::string svg_of(const Chart& chart) {
  return detail::Drawing(chart, 820).svg("wide") + detail::Drawing(chart, 372).svg("narrow");
}

}  // namespace sra::report
