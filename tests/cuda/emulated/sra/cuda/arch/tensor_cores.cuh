// The arch header of this name on the host: lanes hand their registers to each other.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/dtype.hpp>
#include <sra/core/error.hpp>
#include <sra/cuda/arch/device.cuh>
#include <sra/cuda/arch/products.hpp>

#include <cstdint>
#include <cstring>

namespace sra::arch {

using Pair = std::uint32_t;

inline Pair pair_of(float low, float high) { return bf16(low).bits | Pair{bf16(high).bits} << 16; }

namespace emulated {

/// Element i of the two.
inline float element(Pair p, int i) {
  bf16 x;
  x.bits = static_cast<std::uint16_t>(p >> (16 * i));
  return static_cast<float>(x);
}

/// c += a b with depth 8 Halves, from every lane's registers, by the maps of the PTX ISA.
template <int Halves>
void multiply_add(float (&c)[4], const Pair (&a)[2 * Halves], const Pair (&b)[Halves]) {
  struct Registers {
    Pair a[2 * Halves], b[Halves];
  } mine;
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  const auto of_lane = Block::current()->meet(mine, 10 + Halves);
  const int lane = thread() % warp_size, row = lane / 4, column = lane % 4 * 2;
  for (int k = 0; k < 8 * Halves; ++k) {
    const int half = k / 8, pair = k % 8 / 2, i = k % 2;
    for (int j = 0; j < 4; ++j) {
      const Registers left = of_lane(row * 4 + pair), right = of_lane((column + j % 2) * 4 + pair);
      c[j] += element(left.a[2 * half + j / 2], i) * element(right.b[half], i);
    }
  }
}

}  // namespace emulated

inline void multiply_add(float (&c)[4], const Pair (&a)[4], const Pair (&b)[2]) { emulated::multiply_add<2>(c, a, b); }
inline void multiply_add(float (&c)[4], const Pair (&a)[2], const Pair (&b)[1]) { emulated::multiply_add<1>(c, a, b); }

template <int N, bool Transposed = false, int Offset = 0>
void load_matrices(Pair (&to)[N], const bf16* row) {
  static_assert(N == 1 || N == 2 || N == 4, "load_matrices: one, two or four");
  row += Offset;
  const auto row_of = emulated::Block::current()->meet(row, 20 + N);
  const int lane = thread() % warp_size;
  if (lane < 8 * N && reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
    throw Error("load_matrices: expected rows at multiples of 16 bytes");
  for (int i = 0; i < N; ++i) {
    bf16 x[2];
    for (int j = 0; j < 2; ++j) {
      const int r = Transposed ? lane % 4 * 2 + j : lane / 4, c = Transposed ? lane / 4 : lane % 4 * 2 + j;
      x[j] = row_of(8 * i + r)[c];
    }
    to[i] = x[0].bits | Pair{x[1].bits} << 16;
  }
}

namespace emulated {

/// Copies of a thread that have been begun and not been waited for; they happen as late as they may.
struct Copies {
  struct Copy {
    void* to;
    const void* from;
    bool inside;
    int group;
  };
  std::vector<Copy> under_way;
  int group = 0;
};
inline Copies& copies() {
  Block& block = *Block::current();
  return block.attachment<Copies>();
}

}  // namespace emulated

inline void copy_16_bytes(void* shared, const void* global, bool inside = true) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 || reinterpret_cast<std::uintptr_t>(global) % 16)
    throw Error("copy_16_bytes: expected addresses that are multiples of 16");
  auto& c = emulated::copies();
  c.under_way.push_back({shared, global, inside, c.group});
}
inline void commit_copies() { ++emulated::copies().group; }
template <int Left = 0>
void wait_for_copies() {
  auto& c = emulated::copies();
  auto& view = emulated::Block::current()->common_attachment<emulated::ProductView>();
  std::size_t kept = 0;
  for (const auto& copy : c.under_way) {
    if (copy.group >= c.group - Left) {
      c.under_way[kept++] = copy;
      continue;
    }
    if (copy.inside)
      std::memcpy(copy.to, copy.from, 16);
    else
      std::memset(copy.to, 0, 16);
    view.copied(copy.to);
  }
  c.under_way.resize(kept);
}

}  // namespace sra::arch
