// Filling, copying and adding tensors on the CPU.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/backend.hpp>
#include <sra/backend/launch.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/view.hpp>
#include <sra/cpu/isa/dispatch.hpp>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace sra::backend {

/// Rows that a task of a row-wise kernel takes, so that it works on about 16,384 elements.
inline index_t rows_per_task(index_t width) { return std::max<index_t>(1, 16'384 / std::max<index_t>(1, width)); }

/// Zeroes memory.
template <ContextOn<Cpu> C>
void zero_memory(C& context, void* data, std::size_t bytes) {
  launch(context, "zero_memory", {double(bytes), 0}, [&](Cpu&) { std::memset(data, 0, bytes); });
}

/// y = value.
template <ContextOn<Cpu> C, class T, class S>
void fill(C& context, View<T, S> y, T value) {
  launch(context, "fill", {double(y.shape.size()) * sizeof(T), 0}, [&](Cpu&) {
    for (index_t r = 0; r < y.shape.rows(); ++r) std::fill_n(y.row(r), S::width, value);
  });
}

/// to[i] = rule(i), rounded to the type of to; the same bits for any number of threads.
template <ContextOn<Cpu> C, class W, class Rule>
void tabulate(C& context, W* to, index_t count, const Rule& rule) {
  constexpr index_t task = 16'384;
  launch(context, "tabulate", {double(count) * sizeof(W), 0}, [&](Cpu& cpu) {
    cpu.threads().for_each((count + task - 1) / task, [&](index_t t, int) {
      for (index_t i = t * task; i < std::min(count, (t + 1) * task); ++i) to[i] = static_cast<W>(rule(i));
    });
  });
}

/// The rows of a view with their sizes as numbers: a kernel that gains nothing from constants is compiled once.
template <class T>
struct Rows {
  T* data = nullptr;
  index_t rows = 0, width = 0, per_sample = 1, pitch = 0, stride = 0;

  template <class S>
  explicit Rows(View<T, S> v)
      : data(v.data),
        rows(v.shape.rows()),
        width(S::width),
        per_sample(S::sample_rows),
        pitch(v.pitch),
        stride(v.stride) {}

  T* row(index_t r) const { return data + r / per_sample * stride + r % per_sample * pitch; }
  /// Without gaps: all elements as one row.
  void join() {
    width *= rows;
    rows = per_sample = 1;
  }
};

namespace detail {

template <class T, class U>
void deposit_rows(Cpu& cpu, Rows<T> y, Rows<const U> x, bool add) {
  constexpr index_t strip = 16'384;  // of a long row, one task each
  const index_t strips = (x.width + strip - 1) / strip;
  for_rows(cpu, x.rows * strips, rows_per_task(std::min(x.width, strip)), [=](index_t begin, index_t end, int) {
    for (index_t task = begin; task < end; ++task) {
      const index_t r = task / strips, first = task % strips * strip, last = std::min(x.width, first + strip);
      const U* in = x.row(r);
      T* out = y.row(r);
      for (index_t i = first; i < last; i += lanes) {
        wide_t<T> block[lanes];
        load_block(block, in + i, last - i);
        if (add)
          accumulate_block(out + i, block, last - i);
        else
          store_block(out + i, block, last - i);
      }
    }
  });
}

}  // namespace detail

/// y = x, or y += x, or nothing, as the mode says; converts between element types.
template <ContextOn<Cpu> C, class T, class U, class S>
void deposit(C& context, Grad<T, S> y, View<const U, S> x) {
  if (!y) return;
  const bool add = y.mode == GradMode::accumulate;
  launch(context, "deposit", {double(x.shape.size()) * (sizeof(U) + (add ? 2 : 1) * sizeof(T)), 0}, [&](Cpu& cpu) {
    Rows<T> to(y.to);
    Rows<const U> from(x);
    if (y.to.contiguous() && x.contiguous()) {
      to.join();
      from.join();
    }
    detail::deposit_rows(cpu, to, from, add);
  });
}

/// Copies between memory of the host and of the backend, in the order of launches.  @param y, x without gaps
template <ContextOn<Cpu> C, class T, class S>
void copy_from_host(C& context, View<T, S> y, View<const T, S> x) {
  launch(context, "copy_from_host", {2.0 * double(x.shape.size()) * sizeof(T), 0},
         [&](Cpu&) { std::copy_n(x.data, x.shape.size(), y.data); });
}
template <ContextOn<Cpu> C, class T, class S>
void copy_to_host(C& context, View<T, S> y, View<const T, S> x) {
  launch(context, "copy_to_host", {2.0 * double(x.shape.size()) * sizeof(T), 0},
         [&](Cpu&) { std::copy_n(x.data, x.shape.size(), y.data); });
}

/// y = x.
template <ContextOn<Cpu> C, class T, class U, class S>
void copy(C& context, View<T, S> y, View<U, S> x) {
  deposit(context, Grad<T, S>{y, GradMode::overwrite}, View<const std::remove_const_t<U>, S>(x));
}

}  // namespace sra::backend
