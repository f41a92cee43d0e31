// Initial values of parameters, drawn from randomness keyed by the parameter's name.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/context.hpp>
#include <sra/core/error.hpp>
#include <sra/core/philox.hpp>
#include <sra/nn/param.hpp>

#include <cmath>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace sra::init {

/// The same number everywhere.
struct Constant {
  double value;
  SRA_FN double operator()(index_t) const { return value; }
};

/// Element i from U(−bound, bound).
struct Uniform {
  double bound;
  Rng rng;
  SRA_FN double operator()(index_t i) const { return bound * (2.0 * static_cast<double>(rng.uniform(i)) - 1.0); }
};

/// Element i from N(0, deviation²).
struct Normal {
  double deviation;
  Rng rng;
  SRA_FN double operator()(index_t i) const { return deviation * rng.normal_double(i); }
};

/// All zeros.
struct Zero {
  static Constant rule(index_t, index_t, const Rng&) { return {0}; }
};

/// U(−a, a), a = √(6 / (fan_in + fan_out)).   Glorot and Bengio 2010.
struct XavierUniform {
  static Uniform rule(index_t fan_out, index_t fan_in, const Rng& rng) {
    return {std::sqrt(6.0 / static_cast<double>(fan_in + fan_out)), rng};
  }
};

/// N(0, 0.02²).
struct Normal02 {
  static Normal rule(index_t, index_t, const Rng& rng) { return {0.02, rng}; }
};

/// A 64-bit name: FNV-1a, so that a parameter's draws do not depend on what else the model has.
constexpr std::uint64_t name_key(std::string_view name) {
  std::uint64_t h = 14695981039346656037ull;
  for (const char c : name) h = (h ^ static_cast<unsigned char>(c)) * 1099511628211ull;
  return h;
}

/// Where modules put the initial values of their parameters, in `initialise(const auto& values, name, seed)`: a flat buffer
/// of a backend, which makes the numbers itself, many at a time and with the same bits as every other one.
template <Context C>
class Values {
 public:
  using W = typename C::wide;

  Values(C& context, W* to) : context_(context), to_(to) {}

  /// p[i] = rule(i), rounded.  @param rule a function object that the backend can run: its operator() is marked SRA_FN
  template <index_t... E, class Rule>
  void fill(const Param<E...>& p, const Rule& rule) const {
    tabulate(context_, to_ + p.offset, p.size, rule);
  }
  /// p = numbers that the host made, as many as p has.
  template <index_t... E>
  void set(const Param<E...>& p, const std::vector<W>& numbers) const {
    if (std::cmp_not_equal(numbers.size(), p.size))
      throw Error(text("initial values: expected ", p.size, " numbers, got ", numbers.size()));
    context_.backend().upload(to_ + p.offset, numbers.data(), numbers.size() * sizeof(W));
  }

 private:
  C& context_;
  W* to_;
};

/// Lets a module set its own parameters, if it has any to set: calls its initialise(values, name, seed).
template <class M, Context C>
void call_initialise(const M& m, const Values<C>& values, std::string_view name, std::uint64_t seed) {
  if constexpr (requires { m.initialise(values, name, seed); })
    m.initialise(values, name, seed);
  else
    static_assert(
        !requires { m.initialise(static_cast<typename C::wide*>(nullptr), name, seed); },
        "initialise: a module takes initialise(const auto& values, name, seed) and calls values.fill()");
}

}  // namespace sra::init
