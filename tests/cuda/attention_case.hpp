// Attention of the CUDA backend on drawn operands: where they lie, how it is called, and what must come of it.
// SPDX-License-Identifier: MIT
#pragma once

#include "../worst_error.hpp"
#include "attention_reference.hpp"

#include <sra/autograd/context.hpp>
#include <sra/core/philox.hpp>
#include <sra/cuda/attention.cuh>
#include <sra/cuda/cuda.cuh>
#include <sra/ops/attention.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra::attention_check {

template <class T>
inline constexpr double unit = std::is_same_v<T, bf16> ? 0x1p-8 : 0x1p-24;

/// A piece of device memory with a copy on the host; views of it have device addresses.
template <class T>
class Room {
 public:
  Room(Cuda& cuda, index_t count)
      : cuda_(cuda),
        memory_(MemorySource::of(cuda), static_cast<std::size_t>(count) * sizeof(T)),
        host_(static_cast<std::size_t>(count), number_cast<T>(std::numeric_limits<double>::quiet_NaN())) {}

  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  template <class S>
  T& at(View<T, S> v, index_t row, index_t i) {
    return host_[static_cast<std::size_t>(v.row(row) + i - data())];
  }
  void upload() {
    cuda_.upload(data(), host_.data(), host_.size() * sizeof(T));
    before_ = host_;
  }
  void download() { cuda_.download(host_.data(), data(), host_.size() * sizeof(T)); }
  /// Whether only elements of these views have changed since upload().
  template <class... S>
  bool intact_but_for(View<T, S>... v) {
    const auto take = [&](auto view) {
      for (index_t r = 0; r < view.shape.rows(); ++r)
        for (index_t i = 0; i < decltype(view)::shape_type::width; ++i)
          before_[static_cast<std::size_t>(view.row(r) + i - data())] = at(view, r, i);
    };
    (take(v), ...);
    return std::memcmp(before_.data(), host_.data(), host_.size() * sizeof(T)) == 0;
  }

  template <class S>
  void write(View<T, S> v, const Numbers& x) {
    for (index_t r = 0; r < v.shape.rows(); ++r)
      for (index_t i = 0; i < S::width; ++i)
        at(v, r, i) = number_cast<T>(x[static_cast<std::size_t>(r * S::width + i)]);
  }
  template <class S>
  Numbers read(View<T, S> v) {
    Numbers x;
    for (index_t r = 0; r < v.shape.rows(); ++r)
      for (index_t i = 0; i < S::width; ++i) x.push_back(number_cast<double>(at(v, r, i)));
    return x;
  }

 private:
  Cuda& cuda_;
  Memory memory_;
  std::vector<T> host_, before_;
};

/// Where operands lie: elements after every row and after every sample.
struct Layout {
  index_t gap = 0, after_sample = 0;
  bool packed = false;  ///< q, k and v are thirds of the same rows, gradients too
};
struct Modes {
  GradMode q = GradMode::overwrite, k = GradMode::overwrite, v = GradMode::overwrite;
};

template <class T>
Numbers draw(index_t count, std::uint64_t seed, double scale = 1) {
  Numbers x;
  const Rng rng(seed, Purpose::user, 0, 0);
  for (index_t i = 0; i < count; ++i) x.push_back(number_cast<double>(number_cast<T>(scale * rng.normal_double(i))));
  return x;
}

/// The largest error as a fraction of the allowed one, which is to be at most 1.
/// @param before what the result was added to, or empty
template <class T>
void expect_close(const std::string& what, const Numbers& x, const Result& reference, const Numbers& before = {}) {
  BOOST_TEST_REQUIRE(x.size() == reference.value.size());
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double expected = reference.value[i] + (before.empty() ? 0 : before[i]);
    if (x[i] == expected) continue;
    const double allowed = reference.error[i] + unit<T> * (std::abs(expected) + reference.error[i]) + 0x1p-126;
    worst = worse(worst, std::abs(x[i] - expected) / allowed);
  }
  BOOST_TEST_MESSAGE(what << ": " << worst << " of the allowed error");
  BOOST_TEST(worst <= 1, what << ": " << worst << " of the allowed error");
}

/// Attention of one size on operands drawn at random.
template <class T, int Heads, index_t Queries, index_t Keys, index_t Width>
class Case {
 public:
  static constexpr index_t D = Heads * Width;
  using Q = Shape<dynamic, Queries, D>;
  using K = Shape<dynamic, Keys, D>;

  /// Where operands and gradients lie, on the device.
  struct Views {
    View<T, Q> q, dq, o, dy;
    View<T, K> k, v, dk, dv;
    View<float, Shape<dynamic>> lse;
  };

  explicit Case(index_t samples, Layout layout = {}, AttentionKernel kernel = AttentionKernel::mma)
      : samples_(samples),
        layout_(layout),
        problem_{{samples, Heads, Queries, Keys, Width},
                 draw<T>(Q{samples}.size(), 1),
                 draw<T>(K{samples}.size(), 2),
                 draw<T>(K{samples}.size(), 3),
                 draw<T>(Q{samples}.size(), 4),
                 {},
                 {}},
        cuda_({.attention = kernel}) {
    index_t end = 64;
    at_.lse = dense(lse_.data() + 1, Shape<dynamic>{samples * Heads * Queries});
    if (layout.packed) {
      place(at_.q, end, 3 * D), place(at_.dq, end, 3 * D);
      at_.k = at_.v = beside(at_.q, D), at_.dk = at_.dv = beside(at_.dq, D);
      at_.v.data += D, at_.dv.data += D;
    } else {
      place(at_.q, end, D), place(at_.k, end, D), place(at_.v, end, D);
      place(at_.dq, end, D), place(at_.dk, end, D), place(at_.dv, end, D);
    }
    place(at_.o, end, D), place(at_.dy, end, D);
    memory_.write(at_.q, problem_.q), memory_.write(at_.k, problem_.k), memory_.write(at_.v, problem_.v);
    memory_.write(at_.dy, problem_.dy);
  }

  Cuda& cuda() { return cuda_; }
  Problem& problem() { return problem_; }
  Views& at() { return at_; }

  /// @param launch(context, views): what computes o and lse
  void forward(const auto& launch) {
    memory_.upload(), lse_.upload();
    Detached<Cuda, T> context(workspace_, {});
    launch(context, at_);
    cuda_.wait();
    memory_.download(), lse_.download();
    BOOST_TEST(memory_.intact_but_for(at_.o), name() << ": memory around o");
    BOOST_TEST(lse_.intact_but_for(at_.lse), name() << ": memory around lse");
    expect_close<T>(name() + ", o", memory_.read(at_.o), reference().o);
    expect_close<float>(name() + ", lse", lse_.read(at_.lse), reference().lse);
  }

  /// @param launch(context, views, dq, dk, dv): what computes gradients from the result of forward()
  void backward(const auto& launch, Modes modes) {
    const Numbers was_q = before(at_.dq, modes.q, 5), was_k = before(at_.dk, modes.k, 6),
                  was_v = before(at_.dv, modes.v, 7);
    std::array<std::vector<Numbers>, 2> found;
    for (auto& gradients : found) {
      memory_.write(at_.dk, was_k);
      memory_.write(at_.dv, was_v);
      memory_.write(at_.dq, was_q);
      memory_.upload();
      Detached<Cuda, T> context(workspace_, {});
      const std::size_t used = workspace_.activations.used();
      launch(context, at_, Grad<T, Q>{at_.dq, modes.q}, Grad<T, K>{at_.dk, modes.k}, Grad<T, K>{at_.dv, modes.v});
      cuda_.wait();
      BOOST_TEST(workspace_.activations.used() == used);
      memory_.download();
      gradients = {memory_.read(at_.dq), memory_.read(at_.dk), memory_.read(at_.dv)};
      expect_gradient(", dq", gradients[0], modes.q, reference().dq, was_q);
      expect_gradient(", dk", gradients[1], modes.k, reference().dk, was_k);
      expect_gradient(", dv", gradients[2], modes.v, reference().dv, was_v);
      BOOST_TEST(memory_.intact_but_for(at_.dq, at_.dk, at_.dv), name() << ": memory around gradients");
    }
    BOOST_TEST(std::equal(found[0].begin(), found[0].end(), found[1].begin(), same_bits), name() << ": two runs");
  }

  template <class Mask = NoMask>
  void run_forward(Mask mask = {}) {
    forward([&](auto& context, const Views& at) {
      attention_forward<Heads>(context, at.o, at.lse.data, at.q, at.k, at.v, mask);
    });
  }
  /// Both directions as the op calls them.  @param tensor_cores which kernels this must lead to
  template <class Mask = NoMask>
  void run(Modes modes = {}, bool tensor_cores = std::is_same_v<T, bf16>, Mask mask = {}) {
    run_forward(mask);
    backward(
        [&](auto& context, const Views& at, auto dq, auto dk, auto dv) {
          const gpu::detail::AttentionPull<Heads, T, Q, K, Mask> pull{
              {at.o, at.q, at.k, at.v, mask}, at.dy, at.lse.data, dq, dk, dv};
          BOOST_TEST((pull.may_take_tensor_cores && pull.takes_tensor_cores()) == tensor_cores);
          attention_backward<Heads>(context, View<const T, Q>(at.dy), at.o, at.lse.data, at.q, at.k, at.v, mask, dq, dk,
                                    dv);
        },
        modes);
  }

  /// The gradients of one value that is q, k and v: their sum, in the order of the op.
  void run_on_one_value() {
    at_.dk = at_.dv = at_.dq;
    memory_.write(at_.dq, before(at_.dq, GradMode::overwrite, 0));
    memory_.upload();
    Detached<Cuda, T> context(workspace_, {});
    using G = Grad<T, Q>;
    attention_backward<Heads>(context, View<const T, Q>(at_.dy), at_.o, at_.lse.data, at_.q, at_.k, at_.v, NoMask{},
                              G{at_.dq, GradMode::accumulate}, G{at_.dk, GradMode::accumulate},
                              G{at_.dv, GradMode::overwrite});
    cuda_.wait();
    memory_.download();
    Result sum = reference().dv;
    const Result* const others[] = {&reference().dk, &reference().dq};  // nvcc 13.0.88: not within the loop
    for (const Result* next : others)
      for (std::size_t i = 0; i < sum.value.size(); ++i) {
        sum.error[i] += next->error[i] + unit<T> * (std::abs(sum.value[i]) + sum.error[i]);
        sum.value[i] += next->value[i];
      }
    expect_close<T>(name() + ", gradient of one value", memory_.read(at_.dq), sum);
    BOOST_TEST(memory_.intact_but_for(at_.dq), name() << ": memory around the gradient");
  }

  /// The gradient of v begins `shift` rows after that of k, in the same memory; both are added to what is there.
  void run_on_rows_shifted_by(index_t shift) {
    at_.dv.data = at_.dk.data + shift * at_.dk.pitch;
    const auto all = dense(at_.dk.data, Shape<dynamic, Keys + 1, D>{1});
    memory_.write(all, Numbers(static_cast<std::size_t>((Keys + 1) * D), 0.0));
    memory_.upload();
    Detached<Cuda, T> context(workspace_, {});
    using G = Grad<T, K>;
    attention_backward<Heads>(context, View<const T, Q>(at_.dy), at_.o, at_.lse.data, at_.q, at_.k, at_.v, NoMask{},
                              Grad<T, Q>{at_.dq, GradMode::overwrite}, G{at_.dk, GradMode::accumulate},
                              G{at_.dv, GradMode::accumulate});
    cuda_.wait();
    memory_.download();
    Result sum(static_cast<std::size_t>((Keys + 1) * D));
    const std::pair<const Result*, index_t> parts[] = {{&reference().dv, shift * D}, {&reference().dk, 0}};
    for (const auto& [next, first] : parts)
      for (std::size_t i = 0; i < next->value.size(); ++i) {
        const std::size_t to = i + static_cast<std::size_t>(first);
        sum.error[to] += next->error[i] + unit<T> * (std::abs(sum.value[to]) + sum.error[to]);
        sum.value[to] += next->value[i];
      }
    expect_close<T>(name() + ", gradients row over row", memory_.read(all), sum);
    expect_close<T>(name() + ", dq", memory_.read(at_.dq), reference().dq);
  }

  std::string name() const {
    return text(std::is_same_v<T, bf16> ? "bf16" : "float", ", ", Heads, " x ", Width, ", ", Queries, " x ", Keys,
                cuda_.attention() == AttentionKernel::wgmma ? ", wgmma" : "");
  }
  const Reference& reference() {
    if (references_.empty()) references_.emplace_back(problem_, unit<T>);
    return references_.front();
  }

 private:
  template <class S>
  void place(View<T, S>& v, index_t& end, index_t width) {
    const index_t pitch = width + layout_.gap;
    v = {memory_.data() + end, S{samples_}, pitch, S::sample_rows * pitch + layout_.after_sample};
    end += round_up<index_t>(v.span() + 2 * D, 64);
  }
  View<T, K> beside(View<T, Q> v, index_t columns) { return {v.data + columns, K{samples_}, v.pitch, v.stride}; }
  index_t elements() const {
    const index_t row = D + layout_.gap, tokens = samples_ * (Queries + Keys);
    return 64 + 4 * (tokens * row + samples_ * 2 * layout_.after_sample) + 16 * (64 + 2 * D);
  }
  template <class S>
  Numbers before(View<T, S> v, GradMode mode, std::uint64_t seed) {
    if (mode == GradMode::accumulate) return draw<T>(v.shape.size(), seed);
    return Numbers(static_cast<std::size_t>(v.shape.size()), std::numeric_limits<double>::quiet_NaN());
  }
  void expect_gradient(const char* what, const Numbers& x, GradMode mode, const Result& expected, const Numbers& was) {
    if (mode == GradMode::ignore)
      BOOST_TEST(same_bits(x, was), name() << what << ": was to be left alone");
    else
      expect_close<T>(name() + what, x, expected, mode == GradMode::accumulate ? was : Numbers{});
  }
  static bool same_bits(const Numbers& a, const Numbers& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(double)) == 0;
  }

  index_t samples_;
  Layout layout_;
  Problem problem_;
  Cuda cuda_;
  Workspace<Cuda> workspace_{cuda_};
  Room<T> memory_{cuda_, elements()};
  Room<float> lse_{cuda_, samples_* Heads* Queries + 2};
  Views at_;
  std::vector<Reference> references_;
};

}  // namespace sra::attention_check
