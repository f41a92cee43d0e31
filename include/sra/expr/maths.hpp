// Elementary functions as branch-free scalar code that compilers vectorise: exp, sqrt, tanh, sigmoid, GELU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

/// Errors are the largest over all floats and instruction sets, as bench/results/maths.md lists them: in ulp, units in
/// the last place of the right result (2^-149 at least), or relative to max(|f|, 1).  NaN gives NaN.
namespace sra::maths {

/// condition ? a : b by masks.  A plain ?: may be compiled to a branch around the computation of a or b, and then
/// g++ -O2 does not vectorise the loop.
[[gnu::always_inline]] SRA_FN inline float select(bool condition, float a, float b) {
  const std::uint32_t mask = 0u - static_cast<std::uint32_t>(condition);
  return __builtin_bit_cast(
      float, (__builtin_bit_cast(std::uint32_t, a) & mask) | (__builtin_bit_cast(std::uint32_t, b) & ~mask));
}
/// The same in double.
[[gnu::always_inline]] SRA_FN inline double select(bool condition, double a, double b) {
  const std::uint64_t mask = 0u - static_cast<std::uint64_t>(condition);
  return __builtin_bit_cast(
      double, (__builtin_bit_cast(std::uint64_t, a) & mask) | (__builtin_bit_cast(std::uint64_t, b) & ~mask));
}

namespace detail {

/// Bounds by select; a NaN in x survives both.
template <class T>
[[gnu::always_inline]] SRA_FN inline T at_least(T low, T x) {
  return select(x < low, low, x);
}
template <class T>
[[gnu::always_inline]] SRA_FN inline T at_most(T high, T x) {
  return select(x > high, high, x);
}

/// 2^k for -126 <= k <= 127.
[[gnu::always_inline]] SRA_FN inline float power_of_two(std::int32_t k) {
  return __builtin_bit_cast(float, static_cast<std::uint32_t>(k + 127) << 23);
}

}  // namespace detail

/// |x| by clearing the sign bit.
[[gnu::always_inline]] SRA_FN inline float abs(float x) {
  return __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, x) & 0x7fffffffu);
}
/// The same in double.
[[gnu::always_inline]] SRA_FN inline double abs(double x) {
  return __builtin_bit_cast(double, __builtin_bit_cast(std::uint64_t, x) & 0x7fffffffffffffffu);
}

/// e^x.  Float: x = k ln 2 + r with |r| <= ln(2) / 2, degree-6 polynomial in r, times 2^k in two exact steps.
/// Error at most 1.1 ulp; +inf above 88.7229, 0 below -103.98.  Double: std::exp.
template <class T>
[[gnu::always_inline]] SRA_FN inline T exp(T x) {
  if constexpr (std::is_same_v<T, float>) {
    constexpr float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
    const float y = detail::at_most(89.0f, detail::at_least(-105.0f, x));
    const float shifted = y * 1.44269504f + magic;
    const float k = shifted - magic;
    const float r =
        (y - k * 0.693145751953125f) - k * 1.428606765330187e-06f;  // ln 2 in two parts: the first product is exact
    float p = 0.0013814467238262296f;
    p = p * r + 0.008368780836462975f;
    p = p * r + 0.04166839271783829f;
    p = p * r + 0.1666651964187622f;
    p = p * r + 0.4999999403953552f;
    p = (p * r) * r + r + 1.0f;
    const std::int32_t n = __builtin_bit_cast(std::int32_t, shifted) - __builtin_bit_cast(std::int32_t, magic);
    const std::int32_t half = n >> 1;
    // A NaN has a meaningless n; the product with a NaN stays one whatever the factors are.
    return p * detail::power_of_two(half) * detail::power_of_two(n - half);
  } else {
    return std::exp(x);
  }
}

/// 2^x for the softmax: fewer steps than exp.  Float: degree-6 polynomial in x minus its nearest integer; relative error at
/// most 1.2e-7 for -126 <= x < 127.5, 0 below, NaN for NaN; meaningless above.  Double: std::exp2.
template <class T>
[[gnu::always_inline]] SRA_FN inline T exp2_up_to_127(T x) {
  if constexpr (std::is_same_v<T, float>) {
    constexpr float magic = 12582912.0f + 127;  // as in exp, with the bias of an exponent in the lowest bits
    const float shifted = x + magic;
    const float r = x - (shifted - magic);
    float p = 0.00015353361959569156f;
    p = p * r + 0.0013398873852565885f;
    p = p * r + 0.00961843691766262f;
    p = p * r + 0.055503323674201965f;
    p = p * r + 0.24022647738456726f;
    p = p * r + 0.6931471824645996f;
    p = p * r + 1.0f;
    return select(x < -126.0f, 0.0f, p * __builtin_bit_cast(float, __builtin_bit_cast(std::uint32_t, shifted) << 23));
  } else {
    return std::exp2(x);
  }
}

/// Square root of x >= 0 from an estimate of 1 / sqrt(x) and Newton's method, as compilers vectorise no call that may
/// set errno.  Error at most 1 ulp (double: 2.3e-16, relative) for normal numbers; 0 for 0; below 1e-20 absolute, which
/// may be all of it, for subnormal floats; NaN for +inf.
template <class T>
[[gnu::always_inline]] SRA_FN inline T sqrt(T x) {
  if constexpr (std::is_same_v<T, float>) {
    float y = __builtin_bit_cast(float, 0x5f3759dfu - (__builtin_bit_cast(std::uint32_t, x) >> 1));
    for (int i = 0; i < 3; ++i) y = y * (1.5f - (0.5f * x * y) * y);
    const float s = x * y;
    return s + (0.5f * y) * (x - s * s);
  } else {
    double y = __builtin_bit_cast(double, 0x5fe6eb50c7b537a9u - (__builtin_bit_cast(std::uint64_t, x) >> 1));
    for (int i = 0; i < 4; ++i) y = y * (1.5 - (0.5 * x * y) * y);
    const double s = x * y;
    return s + (0.5 * y) * (x - s * s);
  }
}

/// 1 / (1 + e^-x), from e^-|x| so that both tails keep their relative error.  Float: error at most 3 ulp.
template <class T>
[[gnu::always_inline]] SRA_FN inline T sigmoid(T x) {
  const T e = exp(-abs(x));
  const T s = T(1) / (T(1) + e);
  return select(x < T(0), e * s, s);
}

/// d sigmoid(x) / dx = sigmoid(x) sigmoid(-x) = e / (1 + e)^2, e = e^-|x|, in both tails too.  Float: error at
/// most 5 ulp.
template <class T>
[[gnu::always_inline]] SRA_FN inline T sigmoid_slope(T x) {
  const T e = exp(-abs(x)), s = T(1) / (T(1) + e);
  return s * (e * s);
}

/// Hyperbolic tangent.  Float: odd polynomial of degree 11 for |x| < 0.55, (1 - e^-2|x|) / (1 + e^-2|x|) beyond; error
/// at most 2 ulp; -0 for -0.  Double: std::tanh.
template <class T>
[[gnu::always_inline]] SRA_FN inline T tanh(T x) {
  if constexpr (std::is_same_v<T, float>) {
    const float a = abs(x), z = a * a;
    float p = -0.0062742396257817745f;
    p = p * z + 0.021071678027510643f;
    p = p * z - 0.05385230854153633f;
    p = p * z + 0.13332585990428925f;
    p = p * z - 0.33333316445350647f;
    const float near = a + a * (z * p);
    const float e = exp(-2.0f * a);
    const float far = (1.0f - e) / (1.0f + e);
    const float t = select(a < 0.55f, near, far);
    return __builtin_bit_cast(
        float, __builtin_bit_cast(std::uint32_t, t) | (__builtin_bit_cast(std::uint32_t, x) & 0x80000000u));
  } else {
    return std::tanh(x);
  }
}

/// d tanh(x) / dx = 1 - tanh(x)^2 = 4 sigmoid(2 x) sigmoid(-2 x).  Float: error at most 5 ulp.
template <class T>
[[gnu::always_inline]] SRA_FN inline T tanh_slope(T x) {
  return T(4) * sigmoid_slope(x + x);
}

/// silu(x) = x sigmoid(x).  Elfwing et al., arXiv:1702.03118.  Float: error at most 4 ulp for x >= -87, below 60 ulp
/// where sigmoid is no normal number; 3e-7 relative to max(|silu|, 1); NaN for -inf, as PyTorch's.
template <class T>
[[gnu::always_inline]] SRA_FN inline T silu(T x) {
  return x * sigmoid(x);
}

/// d silu(x) / dx = s + x s (1 - s), s = sigmoid(x).  Float: error at most 3e-7 relative to max(|silu'|, 1); NaN for
/// infinities.
template <class T>
[[gnu::always_inline]] SRA_FN inline T silu_slope(T x) {
  const T e = exp(-abs(x)), large = T(1) / (T(1) + e), small = e * large;
  return select(x < T(0), small, large) + x * (small * large);
}

/// GELU in its tanh form: x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))), computed as x sigmoid(2 sqrt(2/pi) (...)).
/// Hendrycks and Gimpel, arXiv:1606.08415.  Float: error at most 5 ulp for |x| <= 1, 300 ulp for x >= -9.9, as
/// e^u magnifies the rounding of u, 0 or a number below 1e-36 beyond; 3e-7 relative to max(|gelu|, 1); NaN for -inf, as
/// PyTorch's.
template <class T>
[[gnu::always_inline]] SRA_FN inline T gelu(T x) {
  const T u = T(1.5957691216057308) * x * (T(1) + T(0.044715) * (x * x));
  const T e = exp2_up_to_127(T(-1.4426950408889634) * abs(u)), large = T(1) / (T(1) + e);
  return x * select(u < T(0), e * large, large);
}

/// d gelu(x) / dx = s + x s (1 - s) u', s = sigmoid(u(x)); 0 and 1 far out.  Float: error at most 3e-7
/// relative to max(|gelu'|, 1).
template <class T>
[[gnu::always_inline]] SRA_FN inline T gelu_slope(T x) {
  const T y = detail::at_most(T(20), detail::at_least(T(-20), x));  // beyond, s (1 - s) is 0 and u' must not overflow
  const T u = T(1.5957691216057308) * y * (T(1) + T(0.044715) * (y * y));
  const T e = exp2_up_to_127(T(-1.4426950408889634) * abs(u)), large = T(1) / (T(1) + e), small = e * large;
  const T s = select(u < T(0), small, large);
  return s + y * (small * large) * (T(1.5957691216057308) * (T(1) + T(3 * 0.044715) * (y * y)));
}

}  // namespace sra::maths
