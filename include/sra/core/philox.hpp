// Randomness: counter-based Philox4x32-10, addressed by (seed, purpose, step, sample, element).
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>

#include <cmath>
#include <concepts>
#include <cstdint>

namespace sra {

/// Four words: a counter or a block of output of Philox.
struct PhiloxBlock {
  std::uint32_t word[4];
};

/// Philox4x32 with 10 rounds: a keyed bijection of 128 bits.  Salmon et al. 2011, "Parallel random numbers: as easy as
/// 1, 2, 3", section 3.3.
SRA_FN constexpr PhiloxBlock philox(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
  std::uint32_t x0 = counter.word[0], x1 = counter.word[1], x2 = counter.word[2], x3 = counter.word[3];
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * x0;
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * x2;
    x0 = static_cast<std::uint32_t>(p1 >> 32) ^ x1 ^ key0;
    x1 = static_cast<std::uint32_t>(p1);
    x2 = static_cast<std::uint32_t>(p0 >> 32) ^ x3 ^ key1;
    x3 = static_cast<std::uint32_t>(p0);
    key0 += 0x9E3779B9u;  // the golden ratio
    key1 += 0xBB67AE85u;  // sqrt(3) − 1
  }
  return {{x0, x1, x2, x3}};
}

/// What a draw is for: draws of different purposes are independent.  The numbers are part of every run's results.
enum class Purpose : std::uint32_t {
  initialise,
  shuffle,
  data,
  time,
  noise,
  label,
  drop_label,
  teacher_time,
  sampler_start,
  sampler_noise,
  augment,
  group,
  user,
  validation
};

namespace detail {

/// 1/n as a fraction of 2^32, rounded.
consteval std::uint64_t reciprocal32(std::uint64_t n) { return ((std::uint64_t{1} << 32) + n / 2) / n; }

/// The high 64 bits of a 128-bit product.
SRA_FN constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) {
  const std::uint64_t a0 = a & 0xffffffffu, a1 = a >> 32, b0 = b & 0xffffffffu, b1 = b >> 32;
  const std::uint64_t mid = a1 * b0 + ((a0 * b0) >> 32);
  return a1 * b1 + (mid >> 32) + ((a0 * b1 + (mid & 0xffffffffu)) >> 32);
}

struct NormalPair {
  float first, second;
};

/// −ln((2 w + 1) / 2^33) as a multiple of 2^-58, by 2 atanh((m − 1) / (m + 1)) around the nearest power of two.
/// Polynomials are integers, because the rounding of floating a * b + c depends on the compiler and its flags.
SRA_FN inline std::int64_t minus_log(std::uint32_t w) {
  const std::int64_t bits = __builtin_bit_cast(std::int64_t, static_cast<double>(2 * std::int64_t{w} + 1));
  const std::int64_t k = (bits - 0x3FE6A09E667F3BCD) >> 52;                         // exponent of v / sqrt(1/2)
  const double m = __builtin_bit_cast(double, bits - k * (std::int64_t{1} << 52));  // in [sqrt(1/2), sqrt(2))
  const double s = (m - 1.0) / (m + 1.0);                                           // both sums are exact
  const auto y = static_cast<std::uint64_t>(static_cast<std::int64_t>(s * s * 0x1p32));
  std::uint64_t p = reciprocal32(13);
  p = reciprocal32(11) + ((p * y) >> 32);
  p = reciprocal32(9) + ((p * y) >> 32);
  p = reciprocal32(7) + ((p * y) >> 32);
  p = reciprocal32(5) + ((p * y) >> 32);
  p = reciprocal32(3) + ((p * y) >> 32);
  p = (std::uint64_t{1} << 32) + ((p * y) >> 32);
  constexpr std::int64_t ln2 = 0x02C5C85FDF473DE7;  // ln 2 · 2^58
  return (33 - k) * ln2 - static_cast<std::int64_t>(s * static_cast<double>(static_cast<std::int64_t>(p)) * 0x1p27);
}

/// Two independent standard normal numbers of two words (Box and Muller 1958).  Error below 0.6 units in the last
/// place.
SRA_FN inline NormalPair normal_pair(std::uint32_t w0, std::uint32_t w1) {
  const double radius = std::sqrt(static_cast<double>(minus_log(w0)) * 0x1p-57);
  // The angle is a quarter turn times (w1 >> 30), plus x = a π / 2^32 with |x| < π / 4 from the other bits.
  const std::int64_t a = 2 * std::int64_t{static_cast<std::int32_t>(w1 << 2) >> 2} + 1;
  constexpr std::uint64_t pi_squared = 0x9DE9E64E;                                         // π² · 2^28
  const std::uint64_t z = ((static_cast<std::uint64_t>(a * a) >> 28) * pi_squared) >> 32;  // x² · 2^32
  constexpr std::uint64_t one = std::uint64_t{1} << 32;
  std::uint64_t s = reciprocal32(362880) - ((reciprocal32(39916800) * z) >> 32);
  s = reciprocal32(5040) - ((s * z) >> 32);
  s = reciprocal32(120) - ((s * z) >> 32);
  s = reciprocal32(6) - ((s * z) >> 32);
  s = one - ((s * z) >> 32);  // sin(x) / x
  std::uint64_t c = reciprocal32(3628800) - ((reciprocal32(479001600) * z) >> 32);
  c = reciprocal32(40320) - ((c * z) >> 32);
  c = reciprocal32(720) - ((c * z) >> 32);
  c = reciprocal32(24) - ((c * z) >> 32);
  c = reciprocal32(2) - ((c * z) >> 32);
  c = one - ((c * z) >> 32);  // cos(x)
  constexpr double pi = 3.14159265358979323846;
  const double sine = static_cast<double>(a * static_cast<std::int64_t>(s)) * (pi * 0x1p-64);
  const double cosine = static_cast<double>(static_cast<std::int64_t>(c)) * 0x1p-32;
  const bool swapped = (w1 >> 30) & 1u;
  const double u = swapped ? -sine : cosine, v = swapped ? cosine : sine;
  const double signed_radius = (w1 >> 31) ? -radius : radius;
  return {static_cast<float>(signed_radius * u), static_cast<float>(signed_radius * v)};
}

}  // namespace detail

/// All random numbers of one (seed, purpose, step, sample), addressed by element: there is no state, so order, threads,
/// ranks and backends do not change a draw.  Every draw is the same bits for every compiler and every flag that keeps
/// IEEE arithmetic.  Three families of draws never share bits: {bits, uniform, uniform_double}, {bits64, below},
/// {normal, normal_double}; inside a family, equal elements are the same draw.  Elements are in [0, 2^62).
class Rng {
 public:
  Rng() = default;
  /// @param step a running number of whatever is repeated  @param sample the global ordinal of the sample
  SRA_FN constexpr Rng(std::uint64_t seed, Purpose purpose, std::integral auto step, std::integral auto sample)
      : sample_(static_cast<std::uint64_t>(sample)) {
    const auto t = static_cast<std::uint64_t>(step);
    const PhiloxBlock key = philox({{low(t), high(t), static_cast<std::uint32_t>(purpose), 0x73726121u}}, low(seed),
                                   high(seed));  // 2^64 keys: two of 10^6 steps share one with probability 3e-8
    key0_ = key.word[0];
    key1_ = key.word[1];
  }

  /// 32 uniform bits.
  SRA_FN constexpr std::uint32_t bits(std::integral auto element) const {
    const auto e = static_cast<std::uint64_t>(element);
    return block(Family::words, e >> 2).word[e & 3];
  }
  /// Uniform in [0, 1): the upper 24 of `bits`, times 2^-24, exact.
  SRA_FN constexpr float uniform(std::integral auto element) const { return to_uniform(bits(element)); }
  /// Uniform in [0, 1): all of `bits`, times 2^-32; within 2^-24 of `uniform`.
  SRA_FN constexpr double uniform_double(std::integral auto element) const {
    return static_cast<double>(bits(element)) * 0x1p-32;
  }
  /// 64 uniform bits.
  SRA_FN constexpr std::uint64_t bits64(std::integral auto element) const {
    const auto e = static_cast<std::uint64_t>(element);
    const PhiloxBlock b = block(Family::longs, e >> 1);
    const std::uint32_t first = b.word[(e & 1) * 2], second = b.word[(e & 1) * 2 + 1];
    return first | (std::uint64_t{second} << 32);
  }
  /// Uniform in {0, …, n − 1}; no value is more than a part n / 2^64 likelier than another.  @param n >= 1
  SRA_FN constexpr index_t below(index_t n, std::integral auto element) const {
    return static_cast<index_t>(detail::multiply_high(bits64(element), static_cast<std::uint64_t>(n)));
  }
  /// Standard normal, |x| < 6.8; exact to 0.6 units in the last place.
  SRA_FN float normal(std::integral auto element) const {
    const auto e = static_cast<std::uint64_t>(element);
    const PhiloxBlock b = block(Family::normals, e >> 2);
    const bool later = (e & 2) != 0;  // words are not indexed by e: in a kernel they are then registers
    const auto pair = detail::normal_pair(later ? b.word[2] : b.word[0], later ? b.word[3] : b.word[1]);
    return (e & 1) ? pair.second : pair.first;
  }
  /// The same number as `normal`: a double model sees exactly the draws of a float model.
  SRA_FN double normal_double(std::integral auto element) const { return static_cast<double>(normal(element)); }

 private:
  template <class T>
  friend void fill_normal(Rng rng, T* out, index_t n);
  template <class T>
  friend void fill_uniform(Rng rng, T* out, index_t n);

  enum class Family : std::uint64_t { words = 0, longs = 1, normals = 2 };

  SRA_FN static constexpr std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  SRA_FN static constexpr std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }
  SRA_FN static constexpr float to_uniform(std::uint32_t w) { return static_cast<float>(w >> 8) * 0x1p-24f; }
  SRA_FN constexpr PhiloxBlock block(Family family, std::uint64_t i) const {
    i |= static_cast<std::uint64_t>(family) << 62;
    return philox({{low(i), high(i), low(sample_), high(sample_)}}, key0_, key1_);
  }

  std::uint64_t sample_ = 0;
  std::uint32_t key0_ = 0, key1_ = 0;
};

/// out[i] = rng.normal(i) for i < n.
template <class T>
void fill_normal(Rng rng, T* out, index_t n) {
  for (index_t i = 0; i < n; i += 4) {
    const PhiloxBlock b = rng.block(Rng::Family::normals, static_cast<std::uint64_t>(i) >> 2);
    const auto p = detail::normal_pair(b.word[0], b.word[1]), q = detail::normal_pair(b.word[2], b.word[3]);
    const float x[4] = {p.first, p.second, q.first, q.second};
    for (index_t j = 0; j < 4 && i + j < n; ++j) out[i + j] = static_cast<T>(x[j]);
  }
}

/// out[i] = rng.uniform(i) for i < n.
template <class T>
void fill_uniform(Rng rng, T* out, index_t n) {
  for (index_t i = 0; i < n; i += 4) {
    const PhiloxBlock b = rng.block(Rng::Family::words, static_cast<std::uint64_t>(i) >> 2);
    for (index_t j = 0; j < 4 && i + j < n; ++j) out[i + j] = static_cast<T>(Rng::to_uniform(b.word[j]));
  }
}

/// Draws from an Rng one after the other: for procedural data, where the number of draws depends on the draws.
class Stream {
 public:
  SRA_FN constexpr explicit Stream(Rng rng) : rng_(rng) {}
  /// Uniform in [0, 1).
  SRA_FN constexpr float uniform() { return rng_.uniform(next_++); }
  /// lo + (hi − lo) u with u uniform in [0, 1); the product is exact in double, so that contraction changes nothing.
  SRA_FN constexpr float uniform(float lo, float hi) {
    return static_cast<float>(static_cast<double>(hi - lo) * static_cast<double>(uniform()) + static_cast<double>(lo));
  }
  /// Standard normal.
  SRA_FN float normal() { return rng_.normal(next_++); }
  /// Uniform in {0, …, n − 1}.  @param n >= 1
  SRA_FN constexpr index_t below(index_t n) { return rng_.below(n, next_++); }

 private:
  Rng rng_;
  std::uint64_t next_ = 0;
};

}  // namespace sra
