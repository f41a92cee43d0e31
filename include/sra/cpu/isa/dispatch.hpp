// Runs plain scalar kernels over ranges of rows in parallel, compiled for the instruction set of the machine.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/dtype.hpp>
#include <sra/cpu/cpu.hpp>
#include <sra/expr/maths.hpp>

#include <algorithm>
#include <type_traits>

// How a kernel must be written so that g++ -O2 (whose vectoriser takes only loops of known trip count without a
// remainder) and clang++ -O2 turn it into packed code of the instruction set, without flags:
//
//   * a functor or lambda defined outside any target function; what it calls is marked [[gnu::always_inline]] (g++ inlines
//     all of it anyway, clang++ only the kernel itself and what is small);
//   * loops over `lanes` = 64 elements, a constant; rows are cut into blocks of 64, tails are filled with zeros;
//   * blocks live in local arrays (load_block, loops, store_block), so that no two pointers may alias;
//   * loop bodies without branches: maths::select instead of ?: (a ?: between computed values may become a branch), the
//     functions of sra::maths; no std::sqrt (errno), std::min or std::max of floats;
//   * sums: one local array of 64 partial sums (accumulate_block), added up once at the end (sum_block).  The order of
//     additions is then the same for every instruction set and number of threads.
//
//     for_rows(cpu, rows, 16, [=](index_t begin, index_t end, int) {
//       for (index_t r = begin; r < end; ++r)
//         for (index_t i = 0; i < width; i += lanes) {
//           const index_t count = std::min(lanes, width - i);
//           float a[lanes];
//           load_block(a, x + r * width + i, count);
//           for (index_t j = 0; j < lanes; ++j) a[j] = maths::sigmoid(a[j]);
//           store_block(y + r * width + i, a, count);
//         }
//     });

namespace sra::backend {

/// Elements of a block: the constant trip count of vectorised loops.
inline constexpr index_t lanes = 64;

/// How many columns of a row of Width a block that begins at column i has; a constant when blocks fill the row, so that
/// the code for tails goes.
template <index_t Width>
constexpr index_t columns_left(index_t i) {
  return Width % lanes == 0 ? lanes : Width - i;
}

/// local[i] = S(pointer[i]) for i < count, 0 for the rest of the block.  @param count 0 ... lanes and more
template <class S, class T>
[[gnu::always_inline]] inline void load_block(S (&local)[lanes], const T* pointer, index_t count) {
  if (count >= lanes) {
    for (index_t i = 0; i < lanes; ++i) local[i] = number_cast<S>(pointer[i]);
  } else {
    for (index_t i = 0; i < lanes; ++i) local[i] = S{};
    for (index_t i = 0; i < count; ++i) local[i] = number_cast<S>(pointer[i]);
  }
}

/// pointer[i] = T(local[i]) for i < min(count, lanes).
template <class T, class S>
[[gnu::always_inline]] inline void store_block(T* pointer, const S (&local)[lanes], index_t count) {
  if (count >= lanes) {
    for (index_t i = 0; i < lanes; ++i) pointer[i] = number_cast<T>(local[i]);
  } else {
    for (index_t i = 0; i < count; ++i) pointer[i] = number_cast<T>(local[i]);
  }
}

/// pointer[i] += local[i] for i < min(count, lanes), summed in S.
template <class T, class S>
[[gnu::always_inline]] inline void accumulate_block(T* pointer, const S (&local)[lanes], index_t count) {
  S sum[lanes];
  load_block(sum, pointer, count);
  for (index_t i = 0; i < lanes; ++i) sum[i] += local[i];
  store_block(pointer, sum, count);
}

/// The sum of a block as a fixed tree of halves: 64, 32, ..., 1.
template <class S>
[[gnu::always_inline]] inline S sum_block(const S (&local)[lanes]) {
  S t[32];
  for (index_t i = 0; i < 32; ++i) t[i] = local[i] + local[i + 32];
  for (index_t i = 0; i < 16; ++i) t[i] += t[i + 16];
  for (index_t i = 0; i < 8; ++i) t[i] += t[i + 8];
  return ((t[0] + t[4]) + (t[2] + t[6])) + ((t[1] + t[5]) + (t[3] + t[7]));
}

/// The largest element of a block, as a tree of halves; NaN is passed over.
template <class S>
[[gnu::always_inline]] inline S max_block(const S (&local)[lanes]) {
  const auto larger = [](S a, S b) __attribute__((always_inline)) { return maths::select(b > a, b, a); };
  S t[32];
  for (index_t i = 0; i < 32; ++i) t[i] = larger(local[i], local[i + 32]);
  for (index_t i = 0; i < 16; ++i) t[i] = larger(t[i], t[i + 16]);
  for (index_t i = 0; i < 8; ++i) t[i] = larger(t[i], t[i + 8]);
  for (index_t i = 0; i < 4; ++i) t[i] = larger(t[i], t[i + 4]);
  return larger(larger(t[0], t[2]), larger(t[1], t[3]));
}

namespace detail {

/// A kernel without its type: what is left to run it is compiled once.
using RowsFunction = void(const void* kernel, index_t begin, index_t end, int worker);

template <class Kernel>
[[gnu::flatten]] void run_portable(const void* kernel, index_t begin, index_t end, int worker) {
  (*static_cast<const Kernel*>(kernel))(begin, end, worker);
}

#if defined(__x86_64__) || defined(__i386__)
template <class Kernel>
[[gnu::target("avx2,fma"), gnu::flatten]] void run_avx2(const void* kernel, index_t begin, index_t end, int worker) {
  (*static_cast<const Kernel*>(kernel))(begin, end, worker);
}

template <class Kernel>
[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"), gnu::flatten]] void run_avx512(const void* kernel,
                                                                                             index_t begin, index_t end,
                                                                                             int worker) {
  (*static_cast<const Kernel*>(kernel))(begin, end, worker);
}
#endif

template <class Kernel>
RowsFunction* rows_function(Isa isa) {
#if defined(__x86_64__) || defined(__i386__)
  if (isa >= Isa::avx512) return run_avx512<Kernel>;
  if (isa == Isa::avx2) return run_avx2<Kernel>;
#endif
  (void)isa;
  return run_portable<Kernel>;
}

inline void for_chunks(Threads& threads, index_t rows, index_t grain, RowsFunction* run, const void* kernel) {
  threads.for_each((rows + grain - 1) / grain, [=](index_t chunk, int worker) {
    run(kernel, chunk * grain, std::min(rows, (chunk + 1) * grain), worker);
  });
}

}  // namespace detail

/// Calls kernel(begin, end, worker) in code of the given instruction set, on this thread.
template <class Kernel>
void run_as(Isa isa, index_t begin, index_t end, int worker, const Kernel& kernel) {
  detail::rows_function<Kernel>(isa)(&kernel, begin, end, worker);
}

/// Calls kernel(index_t begin, index_t end, int worker) for the chunks [0, grain), [grain, 2 grain), ... of [0, rows),
/// in parallel, in code of cpu.isa().  Chunks do not depend on the number of threads.  @param grain rows per chunk, > 0
template <class Kernel>
void for_rows(Cpu& cpu, index_t rows, index_t grain, const Kernel& kernel) {
  detail::for_chunks(cpu.threads(), rows, grain, detail::rows_function<Kernel>(cpu.isa()), &kernel);
}

/// As for_rows, on this thread and portably: for results of a few elements, which are not worth three copies of the code.
template <class Kernel>
void for_few(index_t rows, const Kernel& kernel) {
  kernel(0, rows, 0);
}

/// Calls kernel(index_t task, index_t task + 1, int worker) for every task: for_rows with one row per chunk.
template <class Kernel>
void for_tasks(Cpu& cpu, index_t tasks, const Kernel& kernel) {
  for_rows(cpu, tasks, 1, kernel);
}

}  // namespace sra::backend
