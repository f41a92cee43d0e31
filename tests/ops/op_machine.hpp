// Runs an op on any backend, forward and backward: operands with gaps and NaN around them, gradients that begin as NaN.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/philox.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/expr/pointwise.hpp>

#if defined(SRA_OP_CHECK_CPU)                   // the op has no kernel for CUDA
#elif __has_include(<sra/cuda/arch/block.hpp>)  // kernels run on the host
#include <sra/cuda/kernels.cuh>
#define SRA_OP_CHECK_CUDA 1
#elif defined(__CUDACC__)  // or on a GPU
#include <sra/cuda/kernels.cuh>
#define SRA_OP_CHECK_CUDA 1
#define SRA_OP_CHECK_DEVICE 1
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

// What follows, here and in the tests, runs once a check and is much of what is compiled: only the library is optimised.
#if defined(__GNUC__) && !defined(__clang__) && !defined(__CUDACC__)
#include <sra/sra.hpp>
#pragma GCC optimize("O0")
#endif

namespace sra::op_check {

/// Whether the kernels of CUDA run on a GPU.  What is checked there is that they agree with the CPU in double; all that no GPU
/// takes part in has run in other builds, and is left out, since it compiles long.
#ifdef SRA_OP_CHECK_DEVICE
inline constexpr bool on_device = true;
#else
inline constexpr bool on_device = false;
#endif

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

/// Result and gradients of a run, as doubles, row after row without gaps.  An operand without gradient has none.
struct Outcome {
  std::vector<double> y;
  std::vector<std::vector<double>> gradients;
  bool operator==(const Outcome&) const = default;
};

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

}  // namespace sra::op_check
