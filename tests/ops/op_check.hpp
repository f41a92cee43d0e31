// The tests of every op: its definition, finite differences, backends and instruction sets, use twice, constants, threads.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/philox.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/expr/pointwise.hpp>

#if __has_include( \
    <sra/cuda/arch/block.hpp>) || __has_include(<cuda_runtime.h>)  // kernels run on the host, or on a GPU
#include <sra/cuda/kernels.cuh>
#define SRA_OP_CHECK_CUDA 1
#endif

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace sra::op_check {

/// How an operand is drawn and laid out.
struct Draw {
  double scale = 1, offset = 0;  ///< values are offset + scale n, n standard normal
  index_t gap = 0;               ///< elements between rows, as in a part of a wider tensor; 0: rows padded to 16 bytes
  bool parameter = false;        ///< dense, and its gradient has a ParameterState as parameters in flat buffers do
};

/// An operand of an op under test.  Its values are floats, so that float and double runs see the same numbers.
template <class S>
struct Argument {
  S shape;
  std::vector<double> values;  ///< row after row, without gaps
  Draw draw;
};

template <class S>
Argument<S> argument(index_t batch, std::uint64_t seed, Draw draw = {}) {
  Argument<S> o{S{S::batched ? batch : 1}, {}, draw};
  const Rng rng(seed, Purpose::user, 0, 0);
  for (index_t i = 0; i < o.shape.size(); ++i)
    o.values.push_back(static_cast<double>(static_cast<float>(draw.offset + draw.scale * rng.normal_double(i))));
  return o;
}

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

/// Result and gradients of a run, as doubles, row after row without gaps.  An operand without gradient has none.
struct Outcome {
  std::vector<double> y;
  std::vector<std::vector<double>> gradients;
  bool operator==(const Outcome&) const = default;
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

/// The elements of a view, row after row.
template <class T, class S>
std::vector<double> read(View<T, S> v) {
  std::vector<double> out;
  for (index_t r = 0; r < v.shape.rows(); ++r)
    for (index_t i = 0; i < S::width; ++i) out.push_back(number_cast<double>(v.row(r)[i]));
  return out;
}

/// How element i of a result counts in what is differentiated; every type has these numbers.
inline double output_weight(const Rng& rng, index_t i) {
  return number_cast<double>(bf16(rng.normal(static_cast<std::uint64_t>(i))));
}

#ifdef SRA_OP_CHECK_CUDA
/// Ends a program that needs a device where there is none, as skipped.
struct NeedsDevice {
  NeedsDevice() {
    if (arch::device_count() > 0) return;
    std::puts("skipped: no device");
    std::exit(77);
  }
};
BOOST_TEST_GLOBAL_FIXTURE(NeedsDevice);

/// Memory that test and kernels use by turns.
struct SharedMemory {
  static void* allocate(void*, std::size_t n) { return arch::allocate_managed(n); }
  static void release(void*, void* p, std::size_t) { arch::release(p); }
};
template <class T>
struct SharedAllocator {
  using value_type = T;
  SharedAllocator() = default;
  template <class U>
  SharedAllocator(const SharedAllocator<U>&) {}
  T* allocate(std::size_t n) { return static_cast<T*>(arch::allocate_managed(n * sizeof(T))); }
  void deallocate(T* p, std::size_t) { arch::release(p); }
  bool operator==(const SharedAllocator&) const = default;
};
/// Numbers that kernels of every backend may read.
template <class T>
using Shared = std::vector<T, SharedAllocator<T>>;
#else
template <class T>
using Shared = std::vector<T>;
#endif

template <class B>
auto standard_options() {
  if constexpr (std::is_same_v<B, Cpu>) return backend::CpuOptions{.threads = 2};
#ifdef SRA_OP_CHECK_CUDA
  else
    return CudaOptions{.memory = {nullptr, &SharedMemory::allocate, &SharedMemory::release}};
#endif
}

/// Waits until the host may read what was computed.
template <class B>
void wait_for(B& backend) {
  if constexpr (!B::is_host) backend.wait();
}

/// A backend with a workspace on which ops run again and again.
template <class T, class B = Cpu>
class Machine {
 public:
  using Context = Recording<B, T>;

  explicit Machine(decltype(standard_options<B>()) options = standard_options<B>())
      : backend_(options), workspace_(backend_) {}
  B& cpu() { return backend_; }

  /// Calls the op once per seed, in one step, and differentiates the sum of Σ w y over the calls, w drawn from the
  /// seed. Whatever the op does not write is NaN.  @param ignored number of the operand that is a constant, or -1
  template <class Op, class... S>
  Outcome run(const Op& op, const std::vector<std::uint64_t>& seeds, int ignored, const Argument<S>&... operands) {
    fill_with_nan();
    Context context(workspace_, {});
    int number = 0;
    const Pack<Leaf<S>...> leaves{{{Leaf<S>(context, operands, number++ != ignored)}...}};
    Outcome out;
    leaves.apply([&](const auto&... leaf) {
      for (const std::uint64_t seed : seeds) {
        const auto y = eval(op(leaf.var...));
        wait_for(backend_);
        out.y = read(y.value);
        put_weights(y, seed);
      }
      context.tape().unwind(context);
      wait_for(backend_);
      (out.gradients.push_back(leaf.gradient()), ...);
    });
    workspace_.roll_back();
    return out;
  }

  /// The result alone.
  template <class Op, class... S>
  std::vector<double> value(const Op& op, const Argument<S>&... operands) {
    Context context(workspace_, {});
    const Pack<Leaf<S>...> leaves{{{Leaf<S>(context, operands, true)}...}};
    const auto y = leaves.apply([&](const auto&... leaf) {
      const auto result = eval(op(leaf.var...));
      wait_for(backend_);
      return read(result.value);
    });
    workspace_.roll_back();
    return y;
  }

 private:
  /// An operand in memory, surrounded by NaN.
  template <class S>
  struct Leaf {
    using E = element_t<Context, S>;
    Shared<E> memory, gradient_memory;
    std::vector<unsigned char> state;
    Var<E, S, Context> var;

    Leaf(Context& context, const Argument<S>& o, bool differentiated) : var(context, layout(o), nullptr) {
      const E nan = number_cast<E>(std::numeric_limits<double>::quiet_NaN());
      memory.assign(static_cast<std::size_t>(var.value.span() + 64), nan);
      var.value.data = memory.data();
      for (index_t r = 0; r < o.shape.rows(); ++r)
        for (index_t i = 0; i < S::width; ++i)
          var.value.row(r)[i] = number_cast<E>(o.values[static_cast<std::size_t>(r * S::width + i)]);
      if (!differentiated) return;
      var = input(context, var.value);
      if (!o.draw.parameter) return;
      gradient_memory.assign(memory.size(), nan);
      state.assign(1, unwritten);
      var.slot->data = gradient_memory.data();
      var.slot->state = state.data();
    }

    static View<E, S> layout(const Argument<S>& o) {
      if (o.draw.parameter) return dense<E>(nullptr, o.shape);
      View<E, S> v{nullptr, o.shape};
      if (o.draw.gap == 0) return v;
      v.pitch = S::width + o.draw.gap;
      v.stride = v.pitch * S::sample_rows;
      return v;
    }

    std::vector<double> gradient() const {
      if (!var.slot) return {};
      if (var.slot->state ? *var.slot->state == unwritten : !var.slot->filled)
        return std::vector<double>(static_cast<std::size_t>(var.value.shape.size()));
      return read(var.at(var.slot->data));
    }
  };

  /// Every byte that the arena and the pool hand out next is 0xff: NaN in every type.
  void fill_with_nan() {
    constexpr std::size_t bytes = std::size_t{4} << 20;
    const Arena::Mark before = workspace_.activations.mark();
    std::memset(workspace_.activations.take(bytes), 0xff, bytes);
    workspace_.activations.pop(before);
    workspace_.gradients.plan(false);
    std::memset(workspace_.gradients.take(bytes), 0xff, bytes);
    workspace_.gradients.plan(false);
  }

  template <class Y>
  void put_weights(const Y& y, std::uint64_t seed) {
    const auto dy = y.grad();
    if (!dy) return;
    wait_for(backend_);
    const Rng rng(seed, Purpose::user, 1, 0);
    for (index_t r = 0; r < dy.to.shape.rows(); ++r)
      for (index_t i = 0; i < Y::shape::width; ++i) {
        auto& to = dy.to.row(r)[i];
        const double w = output_weight(rng, r * Y::shape::width + i);
        to = number_cast<typename Y::type>(dy.mode == GradMode::accumulate ? number_cast<double>(to) + w : w);
      }
  }

  B backend_;
  Workspace<B> workspace_;
};

/// A parameter operand as products read it.
template <class W, class S, class C>
Weight<typename C::type, S, C> weight_of(const Var<W, S, C>& v) {
  using T = typename C::type;
  Weight<T, S, C> weight;
  if constexpr (std::is_same_v<T, W>) {
    weight.value = v.value;
  } else {
    const View<T, S> copy = v.context().template tensor<T>(v.value.shape);
    for (index_t r = 0; r < S::sample_rows; ++r)
      for (index_t i = 0; i < S::width; ++i) copy.row(r)[i] = number_cast<T>(v.value.row(r)[i]);
    weight.value = copy;
  }
  if (v.slot) weight.gradient = static_cast<W*>(v.slot->data), weight.state = v.slot->state;
  return weight;
}

/// The op computes what a host function of the operands says: definition(const Argument<S>&...) returns the elements of
/// the result, in double.
template <class Op, class Definition, class... S>
void agrees_with_formula(const Op& op, const Definition& definition, const Accuracy& accuracy,
                         const Argument<S>&... operands) {
  const std::vector<double> expected = definition(operands...);
  const auto in_double = Machine<double>().run(op, {1}, -1, operands...);
  expect_close("double", in_double.y, expected, accuracy.allowed<double>(expected));
  const auto in_float = Machine<float>().run(op, {1}, -1, operands...);
  expect_close("float", in_float.y, expected, accuracy.allowed<float>(expected));
}

/// Result and gradients are those of an unfused definition: another function of the same values.
template <class Op, class Definition, class... S>
void agrees_with_definition(const Op& op, const Definition& definition, const Accuracy& accuracy,
                            const Argument<S>&... operands) {
  const Outcome expected = Machine<double>().run(definition, {1}, -1, operands...);
  expect_close("double", Machine<double>().run(op, {1}, -1, operands...), expected, accuracy, false);
  expect_close("float", Machine<float>().run(op, {1}, -1, operands...), expected, accuracy, true);
}

/// Central differences of Σ w y in double, for up to 300 elements of every operand.  Allowed: 1e-7 of the operand's
/// largest gradient, for the difference's own error h² f'''/6, plus what rounding of the sum makes of 2 h.
template <class Op, class... S>
void matches_finite_differences(const Op& op, const Argument<S>&... operands) {
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

/// Every instruction set of this machine agrees with the double run of the portable one, in float and in double, and so
/// do the kernels of CUDA in float.
template <class Op, class... S>
void every_isa_agrees(const Op& op, const Accuracy& accuracy, const Argument<S>&... operands) {
  using backend::Isa;
  const Outcome reference = Machine<double>({.threads = 1, .isa = Isa::portable}).run(op, {1}, -1, operands...);
  for (const Isa isa : backend::available_isas()) {
    const auto name = backend::to_string(isa);
    expect_close(name + " double", Machine<double>({.threads = 1, .isa = isa}).run(op, {1}, -1, operands...), reference,
                 accuracy, false);
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
template <class Op, class... S>
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
  for (const Isa isa : backend::available_isas())
    check(backend::to_string(isa) + " bf16",
          Machine<bf16>({.threads = 2, .isa = isa}).run(op, {1}, -1, as_bf16(operands)...));
#ifdef SRA_OP_CHECK_CUDA
  check("cuda bf16", Machine<bf16, Cuda>().run(op, {1}, -1, as_bf16(operands)...));
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

/// Results and gradients have the same bits for 1, 2 and 3 threads, in runs in which more than one thread worked.
template <class Op, class... S>
void same_bits_for_any_thread_count(const Op& op, const Argument<S>&... operands) {
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

}  // namespace sra::op_check
