// Filling, copying and adding tensors on the GPU, and between it and the host.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/leaf.cuh>

#include <cstddef>
#include <type_traits>

namespace sra::gpu {

/// Zeroes memory.
template <ContextOn<Cuda> C>
void zero_memory(C& context, void* data, std::size_t bytes) {
  launch(context, "zero_memory", {double(bytes), 0}, [&](Cuda& cuda) { arch::zero(data, bytes, cuda.stream()); });
}

namespace detail {

/// y = value, N columns at a time.
template <int N, class T, class S>
struct Fill {
  View<T, S> y;
  T value;

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t pieces = S::width / N;
    T v[N];
    for (int j = 0; j < N; ++j) v[j] = value;
    store(y.row(piece / pieces) + piece % pieces * N, v);
  }
};

/// y = x or y += x, N columns at a time.
template <int N, class T, class U, class S>
struct Deposit {
  View<T, S> y;
  View<const U, S> x;
  bool add;

  SRA_DEVICE void operator()(index_t piece) const {
    constexpr index_t pieces = S::width / N;
    const index_t r = piece / pieces, i = piece % pieces * N;
    wide_t<T> v[N];
    load(v, x.row(r) + i);
    put(y.row(r) + i, v, add);
  }
};

}  // namespace detail

/// y = value.
template <ContextOn<Cuda> C, class T, class S>
void fill(C& context, View<T, S> y, T value) {
  launch(context, "fill", {double(y.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>([&]<int N>() { for_each(cuda, y.shape.size() / N, detail::Fill<N, T, S>{y, value}); }, y);
  });
}

/// y = x, or y += x, or nothing, as the mode says; converts between element types.
template <ContextOn<Cuda> C, class T, class U, class S>
void deposit(C& context, Grad<T, S> y, View<const U, S> x) {
  if (!y) return;
  const bool add = y.mode == GradMode::accumulate;
  launch(context, "deposit", {double(x.shape.size()) * (sizeof(U) + (add ? 2 : 1) * sizeof(T)), 0}, [&](Cuda& cuda) {
    with_vectors<8, S>(
        [&]<int N>() {
          for_each(cuda, x.shape.size() / N, detail::Deposit<N, T, U, S>{y.to, x, add});
        },
        y.to, x);
  });
}

/// y = x.
template <ContextOn<Cuda> C, class T, class U, class S>
void copy(C& context, View<T, S> y, View<U, S> x) {
  deposit(context, Grad<T, S>{y, GradMode::overwrite}, View<const std::remove_const_t<U>, S>(x));
}

/// Copies between host and device, in the stream's order; the host's memory must stay as it is until then.
template <ContextOn<Cuda> C, class T, class S>
void copy_from_host(C& context, View<T, S> y, View<const T, S> x) {
  launch(context, "copy_from_host", {double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    arch::copy(y.data, x.data, static_cast<std::size_t>(x.shape.size()) * sizeof(T), cuda.stream());
  });
}
template <ContextOn<Cuda> C, class T, class S>
void copy_to_host(C& context, View<T, S> y, View<const T, S> x) {
  launch(context, "copy_to_host", {double(x.shape.size()) * sizeof(T), 0}, [&](Cuda& cuda) {
    arch::copy(y.data, x.data, static_cast<std::size_t>(x.shape.size()) * sizeof(T), cuda.stream());
  });
}

}  // namespace sra::gpu
