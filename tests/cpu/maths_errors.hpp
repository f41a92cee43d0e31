// The largest errors of the elementary functions in float, against double, for each instruction set.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/isa/dispatch.hpp>
#include <sra/expr/functors.hpp>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace sra::test {

using backend::Isa, backend::lanes;

inline constexpr float largest_float = std::numeric_limits<float>::max();
inline constexpr double unbounded = std::numeric_limits<double>::infinity();

/// Numbers that are looked at together.
inline constexpr index_t maths_chunk = 4096;

/// One function, or its derivative, and what maths.hpp says about its errors.
struct MathsFunction {
  const char* name;
  double (*exact)(double);
  void (*in_float)(Isa, const float* x, float* y);  ///< of a chunk
  double ulp;                                       ///< largest error in units of the last place
  double absolute;                                  ///< largest error relative to max(|f|, 1)
  float low = -largest_float, high = largest_float;
};

/// The largest error of a kind, and where; infinite if a result is NaN or infinite and should not be, or the reverse.
struct Worst {
  double error = 0;
  float x = 0;

  void take(double e, float at) {
    if (e > error || (e == error && std::bit_cast<std::uint32_t>(at) < std::bit_cast<std::uint32_t>(x)))
      error = e, x = at;
  }
};

/// Errors in units of the last place (2^-149 at least), relative to results that are normal numbers, and relative to
/// max(|f|, 1).
struct MathsErrors {
  Worst ulp, relative, absolute;

  void take(const MathsErrors& e) {
    ulp.take(e.ulp.error, e.ulp.x);
    relative.take(e.relative.error, e.relative.x);
    absolute.take(e.absolute.error, e.absolute.x);
  }
};

/// The instruction sets whose elementary functions differ.
inline std::vector<Isa> maths_isas() {
  std::vector<Isa> isas;
  for (const Isa isa : backend::available_isas())
    if (isa <= Isa::avx512) isas.push_back(isa);
  return isas;
}

namespace detail {

template <class F>
void values(Isa isa, const float* x, float* y) {
  backend::run_as(isa, 0, maths_chunk, 0, [=](index_t begin, index_t end, int) {
    for (index_t i = begin; i < end; i += lanes) {
      float a[lanes];
      backend::load_block(a, x + i, lanes);
      for (index_t j = 0; j < lanes; ++j) a[j] = F::value(a[j]);
      backend::store_block(y + i, a, lanes);
    }
  });
}

template <class F>
struct SlopeOf {
  static float value(float x) { return F::pull(1.0f, x); }
};
struct Exp2 {
  static float value(float x) { return maths::exp2_up_to_127(x); }
};
struct Sqrt {
  static float value(float x) { return maths::sqrt(x); }
};

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double sigmoid_slope(double x) {
  const double e = std::exp(-std::abs(x));
  return e / ((1 + e) * (1 + e));
}
inline double gelu_exponent(double x) { return 1.5957691216057308 * (x + 0.044715 * x * x * x); }
inline double gelu_slope(double x) {
  const double u = gelu_exponent(x), e = std::exp(-std::abs(u)), s = (u < 0 ? e : 1) / (1 + e);
  return s + x * (e / ((1 + e) * (1 + e))) * 1.5957691216057308 * (1 + 3 * 0.044715 * x * x);
}

/// Errors of lanes results y for x, where e is right.
[[gnu::always_inline]] inline void compare(MathsErrors& worst, const float* x, const float* y, const double* e) {
  constexpr double smallest = std::numeric_limits<float>::min();
  double ulp[lanes], relative[lanes], absolute[lanes];
  for (index_t j = 0; j < lanes; ++j) {
    const double result = y[j], right = e[j], size = maths::abs(right);
    const bool same = (result == right) | ((result != result) & (right != right));
    double error = maths::select(same, 0.0, maths::abs(result - right));
    error = maths::select(error <= std::numeric_limits<double>::max(), error, unbounded);
    const auto exponent = std::bit_cast<std::int64_t>(maths::select(size < smallest, smallest, size)) >> 52;
    ulp[j] = error * std::bit_cast<double>((2 * 1023 + 23 - exponent) << 52);
    relative[j] = maths::select(size < smallest, 0.0, error / maths::select(size < smallest, 1.0, size));
    absolute[j] = maths::select(size > 1, relative[j], error);
  }
  if (backend::max_block(ulp) > worst.ulp.error)
    for (index_t j = 0; j < lanes; ++j) worst.ulp.take(ulp[j], x[j]);
  if (backend::max_block(relative) > worst.relative.error)
    for (index_t j = 0; j < lanes; ++j) worst.relative.take(relative[j], x[j]);
  if (backend::max_block(absolute) > worst.absolute.error)
    for (index_t j = 0; j < lanes; ++j) worst.absolute.take(absolute[j], x[j]);
}

}  // namespace detail

/// @return largest errors over every stride-th float, NaN included and infinities left out, for each of maths_isas()
inline std::vector<MathsErrors> maths_errors(backend::Cpu& cpu, const MathsFunction& f, std::uint64_t stride) {
  const auto isas = maths_isas();
  const auto workers = static_cast<std::size_t>(cpu.threads().size());
  std::vector<std::vector<MathsErrors>> found(workers, std::vector<MathsErrors>(isas.size()));
  const std::uint64_t floats = (std::uint64_t{1} << 32) / stride;
  cpu.threads().for_each(static_cast<index_t>(floats / maths_chunk), [&](index_t chunk, int worker) {
    alignas(64) float x[maths_chunk], y[2][maths_chunk];
    alignas(64) double e[maths_chunk];
    bool any = false;
    for (index_t i = 0; i < maths_chunk; ++i) {
      x[i] = std::bit_cast<float>(
          static_cast<std::uint32_t>(static_cast<std::uint64_t>(chunk * maths_chunk + i) * stride));
      const bool outside = x[i] < f.low || x[i] > f.high;
      if (outside) x[i] = f.low;
      any |= !outside;
    }
    if (!any) return;
    for (index_t i = 0; i < maths_chunk; ++i) {
      e[i] = f.exact(static_cast<double>(x[i]));
      if (std::abs(e[i]) >= 0x1.ffffffp127) e[i] = std::copysign(unbounded, e[i]);  // what rounds to infinity
    }
    MathsErrors here;
    for (std::size_t k = 0; k < isas.size(); ++k) {
      f.in_float(isas[k], x, y[k % 2]);
      if (k == 0 || std::memcmp(y[0], y[1], sizeof y[0]) != 0) {
        here = {};
        backend::run_as(isas.back(), 0, maths_chunk, 0, [&](index_t begin, index_t end, int) {
          for (index_t i = begin; i < end; i += lanes) detail::compare(here, x + i, y[k % 2] + i, e + i);
        });
      }
      found[static_cast<std::size_t>(worker)][k].take(here);
    }
  });
  for (std::size_t w = 1; w < workers; ++w)
    for (std::size_t k = 0; k < isas.size(); ++k) found[0][k].take(found[w][k]);
  return found[0];
}

/// Everything that maths.hpp offers, with the bounds that it states.
inline const std::vector<MathsFunction>& maths_functions() {
  using namespace detail;
  const auto gelu = [](double x) { return x * sigmoid(gelu_exponent(x)); };
  const auto silu = [](double x) { return x * sigmoid(x); };
  static const std::vector<MathsFunction> all{
      {"exp", [](double x) { return std::exp(x); }, values<Exp>, 1.1, unbounded},
      {"exp2 from -126 to 127.4", [](double x) { return std::exp2(x); }, values<detail::Exp2>, 1.5, unbounded, -126,
       127.4f},
      {"sqrt, normal x", [](double x) { return std::sqrt(x); }, values<detail::Sqrt>, 1, unbounded, 0x1p-126f},
      {"sqrt, subnormal x", [](double x) { return std::sqrt(x); }, values<detail::Sqrt>, unbounded, 1e-20, 0,
       0x0.fffffep-126f},
      {"sigmoid", sigmoid, values<Sigmoid>, 3, 1.5e-7},
      {"sigmoid'", sigmoid_slope, values<SlopeOf<Sigmoid>>, 5, 1e-7},
      {"tanh", [](double x) { return std::tanh(x); }, values<Tanh>, 2, 1.5e-7},
      {"tanh'", [](double x) { return 4 * sigmoid_slope(2 * x); }, values<SlopeOf<Tanh>>, 5, 3e-7},
      {"silu from -87 on", silu, values<Silu>, 4, unbounded, -87},
      {"silu", silu, values<Silu>, 60, 3e-7},
      {"silu'", [](double x) { return sigmoid(x) + x * sigmoid_slope(x); }, values<SlopeOf<Silu>>, unbounded, 3e-7},
      {"gelu in [-1, 1]", gelu, values<Gelu>, 5, unbounded, -1, 1},
      {"gelu from -9.9 on", gelu, values<Gelu>, 300, unbounded, -9.9f},
      {"gelu", gelu, values<Gelu>, unbounded, 3e-7},
      {"gelu'", gelu_slope, values<SlopeOf<Gelu>>, unbounded, 3e-7},
  };
  return all;
}

}  // namespace sra::test
