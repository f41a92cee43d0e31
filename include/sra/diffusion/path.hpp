// Paths from data to noise: x_t = α(t) x + σ(t) ε.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cmath>

namespace sra {

/// α, σ and their derivatives at one time.
struct PathPoint {
  double alpha, sigma, dalpha, dsigma;
};

/// α = 1 − t, σ = t; t = 0 is data, t = 1 is pure noise.   SiT, arXiv:2401.08740.
struct LinearPath {
  SRA_FN static PathPoint at(double t) { return {1.0 - t, t, -1.0, 1.0}; }
  /// The time whose signal-to-noise ratio α/σ is 1/s.
  SRA_FN static double time_of(double s) { return s / (1.0 + s); }
  static constexpr const char* name = "linear";
};

/// α = cos(π t / 2), σ = sin(π t / 2).   SiT, arXiv:2401.08740 (GVP).
struct CosinePath {
  SRA_FN static PathPoint at(double t) {
    constexpr double half_pi = 1.57079632679489661923;
    const double c = std::cos(half_pi * t), s = std::sin(half_pi * t);
    return {c, s, -half_pi * s, half_pi * c};
  }
  SRA_FN static double time_of(double s) { return std::atan(s) / 1.57079632679489661923; }
  static constexpr const char* name = "cosine";
};

}  // namespace sra
