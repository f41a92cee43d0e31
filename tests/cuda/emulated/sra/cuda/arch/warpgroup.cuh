// The arch header of this name on the host: products happen when they are waited for, from what their descriptors say.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/products.hpp>
#include <sra/cuda/arch/tensor_cores.cuh>

#include <cstdint>
#include <cstring>

namespace sra::arch {

inline constexpr int warpgroup_size = 128;
constexpr bool has_warpgroup_products() { return true; }

inline std::uint32_t shared_address(const void* p) {
  const auto* const first = emulated::Block::current()->shared();
  return emulated::ProductView::first_address + static_cast<std::uint32_t>(static_cast<const std::byte*>(p) - first);
}
inline void publish_to_products() { emulated::Block::current()->common_attachment<emulated::ProductView>().publish(); }

namespace emulated {

inline Products& products() { return Block::current()->attachment<Products>(); }

}  // namespace emulated

template <class... R>
void lend_to_products(R&... registers) {
  (emulated::products().lend(&registers, sizeof registers), ...);
}

namespace emulated {

/// What all warps of a warpgroup must ask for.
struct Asked {
  std::uint64_t a, b;
  int form;
};
inline void expect_one_product(const Asked& mine) {
  const Asked first = Block::current()->meet(mine, 41, Block::warpgroup)(0);
  if (first.a != mine.a || first.b != mine.b || first.form != mine.form)
    throw Error("a product of a warpgroup: expected one of all its warps, got several");
}

}  // namespace emulated

template <int N, bool Accumulate, bool Transposed, int First = 0, int M>
void multiply_add_later(float (&d)[M][4], const Pair (&a)[4], std::uint64_t b) {
  static_assert(N == 72 || N == 64 || N == 32 || N == 16 || N == 8, "multiply_add_later: no form for N");
  static_assert(8 * (M - First) >= N);
  struct Registers {
    Pair a[4];
  } mine;
  std::memcpy(mine.a, a, sizeof mine.a);
  const auto of_lane = emulated::Block::current()->meet(mine, 40);
  emulated::expect_one_product({0, b, N * 8 + Accumulate * 2 + Transposed});

  emulated::Products::Product p{d[First], N, Accumulate, a, {}, {}, {}, {b, Transposed}, 0};
  p.right.check();
  std::memcpy(p.was, a, sizeof p.was);
  for (int k = 0; k < 16; ++k) {
    const Registers left = of_lane(thread() % warp_size / 4 * 4 + k % 8 / 2);
    for (int half = 0; half < 2; ++half) p.left[half][k] = emulated::element(left.a[k / 8 * 2 + half], k % 2);
  }
  emulated::products().begin(p);
}

template <int N, bool Accumulate, bool TransposedA, bool TransposedB, int First = 0, int M>
void multiply_shared_later(float (&d)[M][4], std::uint64_t a, std::uint64_t b) {
  static_assert(N == 64 || N == 40 || N == 32 || N == 16 || N == 8, "multiply_shared_later: no form for N");
  static_assert(8 * (M - First) >= N);
  emulated::expect_one_product({a, b, N * 8 + 4 + Accumulate * 2 + TransposedB});

  emulated::Products::Product p{d[First], N, Accumulate, nullptr, {}, {}, {a, TransposedA}, {b, TransposedB}, 0};
  p.shared_left.check();
  p.right.check();
  emulated::products().begin(p);
}

inline void commit_products() { emulated::products().commit(); }
template <int Left, class... R>
void wait_for_products(R&... registers) {
  emulated::products().wait(Left);
  (emulated::products().take_back(&registers, sizeof registers), ...);
}

}  // namespace sra::arch
