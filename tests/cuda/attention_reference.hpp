// Attention in double by its definition, and how far rounding may take a kernel from it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace sra::attention_check {

using Numbers = std::vector<double>;

/// The sizes of a problem; tensors are [samples, tokens, heads * width] without gaps.
struct Sizes {
  index_t samples, heads, queries, keys, width;
  index_t row() const { return heads * width; }
  std::size_t at(index_t tokens, index_t s, index_t t, index_t h) const {
    return static_cast<std::size_t>((s * tokens + t) * row() + h * width);
  }
};

/// What is computed from, element by element; groups are empty or [samples, tokens].
struct Problem {
  Sizes sizes;
  Numbers q, k, v, dy;
  std::vector<std::int32_t> query_group, key_group;

  bool sees(index_t s, index_t i, index_t j) const {
    return query_group.empty() || query_group[static_cast<std::size_t>(s * sizes.queries + i)] ==
                                      key_group[static_cast<std::size_t>(s * sizes.keys + j)];
  }
};

/// A result and the error that each of its elements may have, before it is rounded to its type.
struct Result {
  Numbers value, error;
  explicit Result(std::size_t n) : value(n), error(n) {}
};

/// Results by the definition.  Errors to first order from: products summed in float one after the other, 2^x to 4 units
/// in the last place, p and its gradient (`unit` each, where they are rounded for the next product), o rounded to its
/// type.
struct Reference {
  static constexpr double eps = 0x1p-24;  ///< half a unit in the last place of float
  Result o, lse, dq, dk, dv;

  /// @param unit half a unit in the last place of tensors
  Reference(const Problem& p, double unit)
      : o(p.q.size()),
        lse(static_cast<std::size_t>(p.sizes.samples * p.sizes.heads * p.sizes.queries)),
        dq(p.q.size()),
        dk(p.k.size()),
        dv(p.v.size()) {
    for (index_t s = 0; s < p.sizes.samples; ++s)
      for (index_t h = 0; h < p.sizes.heads; ++h)
        for (index_t i = 0; i < p.sizes.queries; ++i) query(p, unit, s, h, i);
  }

 private:
  static double dot(const double* a, const double* b, index_t n, double& magnitude) {
    double sum = 0;
    magnitude = 0;
    for (index_t d = 0; d < n; ++d) sum += a[d] * b[d], magnitude += std::abs(a[d] * b[d]);
    return sum;
  }

  void query(const Problem& p, double unit, index_t s, index_t h, index_t i) {
    const Sizes& z = p.sizes;
    const std::size_t at = z.at(z.queries, s, i, h), row = static_cast<std::size_t>((s * z.heads + h) * z.queries + i);
    const double scale = 1 / std::sqrt(double(z.width)), width = double(z.width), log2_e = 1 / std::log(2.0);
    Numbers score(static_cast<std::size_t>(z.keys), -std::numeric_limits<double>::infinity());
    double top = -std::numeric_limits<double>::infinity(), largest = 0, sum = 0, magnitude = 0;
    for (index_t j = 0; j < z.keys; ++j) {
      if (!p.sees(s, i, j)) continue;
      double& x = score[static_cast<std::size_t>(j)];
      x = scale * dot(&p.q[at], &p.k[z.at(z.keys, s, j, h)], z.width, magnitude);
      top = std::max(top, x), largest = std::max(largest, scale * magnitude);
    }
    for (double& x : score) sum += x = top == -std::numeric_limits<double>::infinity() ? 0 : std::exp(x - top);
    if (sum == 0) {
      lse.value[row] = std::numeric_limits<double>::infinity();
      return;
    }
    // The relative errors of e^(score - top) and of the weights p made of it, forward and backward.
    const double of_power = eps * (2 * (width + 4) * largest + 4), of_sum = 2 * (double(z.keys) + 8) * eps;
    lse.value[row] = top * log2_e + std::log2(sum);
    lse.error[row] = log2_e * (2 * of_power + of_sum) + 4 * eps * std::abs(lse.value[row]);
    const double forward = 3 * of_power + of_sum, backward = lse.error[row] / log2_e + 2 * of_power;
    double of_delta = 0, delta = 0;
    for (index_t d = 0; d < z.width; ++d) {
      double value = 0, weight = 0;
      for (index_t j = 0; j < z.keys; ++j) {
        const double x = score[static_cast<std::size_t>(j)] / sum * p.v[z.at(z.keys, s, j, h) + std::size_t(d)];
        value += x, weight += std::abs(x);
      }
      o.value[at + std::size_t(d)] = value;
      o.error[at + std::size_t(d)] = (forward + unit) * weight;
      const double dy = p.dy[at + std::size_t(d)];
      delta += dy * value;
      of_delta += std::abs(dy) * ((forward + unit) * weight + unit * std::abs(value)) +
                  (width + 4) * eps * std::abs(dy * value);
    }
    for (index_t j = 0; j < z.keys; ++j) {
      const std::size_t key = z.at(z.keys, s, j, h);
      const double weight = score[static_cast<std::size_t>(j)] / sum;
      const double dp = dot(&p.dy[at], &p.v[key], z.width, magnitude), ds = weight * (dp - delta);
      const double of_ds =
          std::abs(ds) * (backward + unit + 4 * eps) + weight * ((width + 4) * eps * magnitude + of_delta);
      for (std::size_t d = 0; d < std::size_t(z.width); ++d) {
        add(dv, key + d, weight * p.dy[at + d], backward + unit + (double(z.queries) + 8) * eps);
        add(dk, key + d, scale * ds * p.q[at + d], (double(z.queries) + 8) * eps);
        add(dq, at + d, scale * ds * p.k[key + d], (double(z.keys) + 8) * eps);
        dk.error[key + d] += scale * of_ds * std::abs(p.q[at + d]);
        dq.error[at + d] += scale * of_ds * std::abs(p.k[key + d]);
      }
    }
  }
  static void add(Result& to, std::size_t at, double x, double relative) {
    to.value[at] += x;
    to.error[at] += relative * std::abs(x);
  }
};

}  // namespace sra::attention_check
