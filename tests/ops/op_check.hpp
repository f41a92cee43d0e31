// The tests of every op: its definition, finite differences, backends and instruction sets, use twice, constants, threads.
// SPDX-License-Identifier: MIT
#pragma once

#include "op_machine.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace sra::op_check {

/// The error that rounding may cause: factor * epsilon * sqrt(terms) * scale, where terms is the length of the longest
/// sum in the op or its gradient and scale the largest magnitude of the tensor, at least `floor`: results that cancel
/// to less than what they are summed from.
struct Accuracy {
  double terms = 1, factor = 4, floor = 0;

  template <class T>
  double allowed(const std::vector<double>& reference) const {
    double scale = floor;
    for (const double x : reference) scale = std::max(scale, std::abs(x));
    return factor * static_cast<double>(std::numeric_limits<T>::epsilon()) * std::sqrt(terms) * scale;
  }
};

/// Holds x against a reference; NaN is an error of any size.
inline void expect_close(const std::string& what, const std::vector<double>& x, const std::vector<double>& reference,
                         double allowed) {
  BOOST_TEST_REQUIRE(x.size() == reference.size(),
                     what << ": " << x.size() << " elements, expected " << reference.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double error = std::abs(x[i] - reference[i]);
    worst = error <= worst ? worst : error;
    if (std::isnan(worst)) break;
  }
  BOOST_TEST_MESSAGE(what << ": error " << worst << ", " << worst / allowed << " of the allowed");
  BOOST_TEST(worst <= allowed, what << ": error " << worst << ", allowed " << allowed);
}

inline void expect_close(const std::string& what, const Outcome& x, const Outcome& reference, const Accuracy& accuracy,
                         bool in_float) {
  const auto allowed = [&](const auto& r) {
    return in_float ? accuracy.allowed<float>(r) : accuracy.allowed<double>(r);
  };
  expect_close(what + ", result", x.y, reference.y, allowed(reference.y));
  BOOST_TEST_REQUIRE(x.gradients.size() == reference.gradients.size());
  for (std::size_t i = 0; i < x.gradients.size(); ++i)
    expect_close(text(what, ", gradient ", i), x.gradients[i], reference.gradients[i], allowed(reference.gradients[i]));
}

/// The op computes what a host function of the operands says: definition(const Argument<S>&...) returns the elements of
/// the result, in double.
template <class Op, class Definition, class... S>
void agrees_with_formula(const Op& op, const Definition& definition, const Accuracy& accuracy,
                         const Argument<S>&... operands) {
  if constexpr (!on_device) {
    const std::vector<double> expected = definition(operands...);
    const auto in_double = Machine<double>().run(op, {1}, -1, operands...);
    expect_close("double", in_double.y, expected, accuracy.allowed<double>(expected));
    const auto in_float = Machine<float>().run(op, {1}, -1, operands...);
    expect_close("float", in_float.y, expected, accuracy.allowed<float>(expected));
  }
}

/// Result and gradients are those of an unfused definition: another function of the same values.
template <class Op, class Definition, class... S>
void agrees_with_definition(const Op& op, const Definition& definition, const Accuracy& accuracy,
                            const Argument<S>&... operands) {
  if constexpr (!on_device) {
    const Outcome expected = Machine<double>().run(definition, {1}, -1, operands...);
    expect_close("double", Machine<double>().run(op, {1}, -1, operands...), expected, accuracy, false);
    expect_close("float", Machine<float>().run(op, {1}, -1, operands...), expected, accuracy, true);
  }
}

/// Central differences of Σ w y in double, for up to 300 elements of every operand.  Allowed: 1e-7 of the operand's
/// largest gradient, for the difference's own error h² f'''/6, plus what rounding of the sum makes of 2 h.
template <class Op, class... S>
void matches_finite_differences(const Op& op, const Argument<S>&... operands) {
  if constexpr (!on_device) {
    Machine<double> machine;
    const Outcome exact = machine.run(op, {1}, -1, operands...);
    const Rng rng(1, Purpose::user, 1, 0);
    double magnitude = 0;
    for (std::size_t i = 0; i < exact.y.size(); ++i)
      magnitude += std::abs(exact.y[i] * output_weight(rng, static_cast<index_t>(i)));
    Pack<Argument<S>...> moved = pack(operands...);
    const auto functional = [&] {
      const auto y = moved.apply([&](const auto&... o) { return machine.value(op, o...); });
      double sum = 0;
      for (std::size_t i = 0; i < y.size(); ++i) sum += y[i] * output_weight(rng, static_cast<index_t>(i));
      return sum;
    };
    const auto check = [&](std::size_t number, std::vector<double>& values) {
      const auto& gradient = exact.gradients[number];
      double largest = 0;
      for (const double g : gradient) largest = std::max(largest, std::abs(g));
      std::vector<double> differences, expected;
      double allowed = 0;
      for (std::size_t i = 0; i < values.size(); i += 1 + values.size() / 300) {
        const double x = values[i], h = 1e-5 * std::max(1.0, std::abs(x));
        values[i] = x + h;
        const double up = functional();
        values[i] = x - h;
        const double down = functional();
        values[i] = x;
        differences.push_back((up - down) / (2 * h));
        expected.push_back(gradient[i]);
        allowed = 1e-7 * largest + 4 * std::numeric_limits<double>::epsilon() * magnitude / h;
      }
      expect_close(text("operand ", number), expected, differences, allowed);
    };
    [&]<std::size_t... I>(std::index_sequence<I...>) {
      (check(I, const_cast<std::vector<double>&>(get<I>(moved).values)), ...);
    }
    (std::index_sequence_for<S...>{});
  }
}

/// Every instruction set of this machine agrees with the double run of the portable one, in float and in double, and so
/// do the kernels of CUDA in float.
template <class Op, class... S>
void every_isa_agrees(const Op& op, const Accuracy& accuracy, const Argument<S>&... operands) {
  using backend::Isa;
  const Outcome reference = Machine<double>({.threads = 1, .isa = Isa::portable}).run(op, {1}, -1, operands...);
  if constexpr (!on_device)
    for (const Isa isa : backend::available_isas()) {
      const auto name = backend::to_string(isa);
      expect_close(name + " double", Machine<double>({.threads = 1, .isa = isa}).run(op, {1}, -1, operands...),
                   reference, accuracy, false);
      expect_close(name + " float", Machine<float>({.threads = 1, .isa = isa}).run(op, {1}, -1, operands...), reference,
                   accuracy, true);
    }
#ifdef SRA_OP_CHECK_CUDA
  expect_close("cuda float", Machine<float, Cuda>().run(op, {1}, -1, operands...), reference, accuracy, true);
#endif
}

/// An operand whose values bf16 has, too.
template <class S>
Argument<S> as_bf16(Argument<S> o) {
  for (double& x : o.values) x = number_cast<double>(number_cast<bf16>(x));
  return o;
}

/// Every instruction set agrees in bf16 with the double run of the same rounded numbers.  Sums are made in float, so that what
/// counts are the roundings of results and of what is kept in bf16 between two kernels: allowed are `roundings` half units in
/// the last place of the tensor's largest magnitude, or of the floor.
/// @tparam Attention whether it is attention, of which CUDA has two kernels
template <bool Attention = false, class Op, class... S>
void bf16_agrees(const Op& op, double roundings, double floor, const Argument<S>&... operands) {
  using backend::Isa;
  const Outcome reference =
      Machine<double>({.threads = 1, .isa = Isa::portable}).run(op, {1}, -1, as_bf16(operands)...);
  const auto allowed = [&](const std::vector<double>& r) {
    double scale = floor;
    for (const double x : r) scale = std::max(scale, std::abs(x));
    return roundings * 0x1p-8 * scale;
  };
  const auto check = [&](const std::string& name, const Outcome& x) {
    expect_close(name + ", result", x.y, reference.y, allowed(reference.y));
    for (std::size_t i = 0; i < x.gradients.size(); ++i)
      expect_close(text(name, ", gradient ", i), x.gradients[i], reference.gradients[i],
                   allowed(reference.gradients[i]));
  };
  if constexpr (!on_device)
    for (const Isa isa : backend::available_isas())
      check(backend::to_string(isa) + " bf16",
            Machine<bf16>({.threads = 2, .isa = isa}).run(op, {1}, -1, as_bf16(operands)...));
#ifdef SRA_OP_CHECK_CUDA
  check("cuda bf16", Machine<bf16, Cuda>().run(op, {1}, -1, as_bf16(operands)...));
  if constexpr (Attention) {
    CudaOptions options = standard_options<Cuda>();
    options.attention = AttentionKernel::wgmma;
    check("cuda bf16, wgmma", Machine<bf16, Cuda>(options).run(op, {1}, -1, as_bf16(operands)...));
  }
#endif
}

/// The gradients of two uses of the same operands are the sum of the gradients of each, on every backend.
template <class Op, class... S>
void accumulates(const Op& op, const Accuracy& accuracy, const Argument<S>&... operands) {
  Machine<double> machine;
  const Outcome both = machine.run(op, {1, 2}, -1, operands...);
  Outcome sum = machine.run(op, {1}, -1, operands...);
  const Outcome second = machine.run(op, {2}, -1, operands...);
  for (std::size_t i = 0; i < sum.gradients.size(); ++i)
    for (std::size_t j = 0; j < sum.gradients[i].size(); ++j) sum.gradients[i][j] += second.gradients[i][j];
  expect_close("used twice", both, sum, accuracy, false);
#ifdef SRA_OP_CHECK_CUDA
  expect_close("used twice, cuda", Machine<float, Cuda>().run(op, {1, 2}, -1, operands...), sum, accuracy, true);
#endif
}

/// A constant operand has no gradient, and those of the others keep their bits.
template <class Op, class... S>
void ignores_constants(const Op& op, const Argument<S>&... operands) {
  if constexpr (!on_device) {
    Machine<float> machine;
    const Outcome all = machine.run(op, {1}, -1, operands...);
    for (std::size_t constant = 0; constant < sizeof...(S); ++constant) {
      const Outcome rest = machine.run(op, {1}, static_cast<int>(constant), operands...);
      BOOST_TEST(rest.y == all.y);
      for (std::size_t i = 0; i < sizeof...(S); ++i)
        BOOST_TEST((i == constant ? rest.gradients[i].empty() : rest.gradients[i] == all.gradients[i]),
                   "gradient " << i << " without gradient " << constant);
    }
  }
}

/// Results and gradients have the same bits for 1, 2 and 3 threads, in runs in which more than one thread worked.
template <class Op, class... S>
void same_bits_for_any_thread_count(const Op& op, const Argument<S>&... operands) {
  if constexpr (!on_device) {
    const Outcome one = Machine<float>({.threads = 1}).run(op, {1}, -1, operands...);
    for (const int threads : {2, 3}) {
      Machine<float> machine({.threads = threads});
      bool helped = false;
      for (int attempt = 0; attempt < 1000 && !helped; ++attempt) {
        BOOST_TEST_REQUIRE((machine.run(op, {1}, -1, operands...) == one), threads << " threads");
        helped = machine.cpu().threads().worked_on(threads - 1) > 0;
      }
      BOOST_TEST(helped, "thread " << threads << " never worked");
    }
  }
}

}  // namespace sra::op_check
