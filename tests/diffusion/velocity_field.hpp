// Models whose velocity is a formula, so that samplers can be held against known solutions.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/nn/embedding.hpp>

#include <cstdint>
#include <limits>
#include <vector>

namespace velocity_field {

using sra::index_t, sra::View, sra::Shape, sra::dynamic;

/// What a model was asked.
struct Call {
  index_t batch;
  double t;
};

/// A model of images [B, 2, 3, 2] with the velocity v(x, t, condition, sample, channel).
/// @tparam Outputs channels that it returns; those beyond the second are NaN
template <class Condition_, class Formula, int Outputs = 2>
struct Field {
  using Condition = Condition_;
  using ImageShape = Shape<dynamic, 2, 3, 2>;

  Formula formula;
  std::vector<Call>* calls = nullptr;

  template <sra::Variable X, class W>
  auto operator()(X x, View<const W, Shape<dynamic>> t, typename Condition::View y) const {
    using T = typename X::type;
    if (calls) calls->push_back({x.batch(), static_cast<double>(t.data[0])});
    auto v = sra::make<T>(x.context(), Shape<dynamic, 2, 3, Outputs>{x.batch()});
    for (index_t b = 0; b < x.batch(); ++b)
      for (index_t r = 0; r < 6; ++r)
        for (index_t c = 0; c < Outputs; ++c)
          v.value.row(b, r)[c] = c < 2 ? static_cast<T>(formula(static_cast<double>(x.value.row(b, r)[c]),
                                                                static_cast<double>(t.data[b]), y, b, c))
                                       : std::numeric_limits<T>::quiet_NaN();
    return v;
  }
};

/// The velocity of data that are N(mean, deviation²): on the linear path the exact solution is x(0) = mean + deviation
/// x(1), and both the ODE and the SDE end in that distribution.
struct Gaussian {
  double mean = 0.7, deviation = 0.4;
  template <class Condition>
  double operator()(double x, double t, Condition, index_t, index_t) const {
    const double s2 = deviation * deviation, q = (1 - t) * (1 - t) * s2 + t * t, z = (x - (1 - t) * mean) / q;
    return t * z - (mean + (1 - t) * s2 * z);
  }
};

/// A velocity of the label and the channel alone; the null class is 3.
struct OfLabel {
  static double of(index_t label, index_t channel) {
    return label == 3 ? 0.5 - 0.25 * static_cast<double>(channel)
                      : static_cast<double>(label + 1) + 0.125 * static_cast<double>(channel);
  }
  double operator()(double, double, View<const std::int32_t, Shape<dynamic>> y, index_t b, index_t channel) const {
    return of(y.data[b], channel);
  }
};

}  // namespace velocity_field
