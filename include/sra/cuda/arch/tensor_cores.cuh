// Products of small matrices by a warp: mma, the loads that feed it, and copies that run beside it.  sm_80 and later.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/dtype.hpp>
#include <sra/cuda/arch/device.cuh>

#include <cstdint>

namespace sra::arch {

/// Two bf16 numbers in a register, the one with the lower index in the lower half.
using Pair = std::uint32_t;

/// Rounds both to nearest even.
SRA_DEVICE Pair pair_of(float low, float high) {
  Pair p;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(p) : "f"(high), "f"(low));
  return p;
}

/// c += a b for a 16 x 16, b 16 x 8, c 16 x 8.  PTX ISA, mma.m16n8k16: lane l holds, with g = l / 4 and t = 2 (l % 4),
///   a: (g, t..), (g + 8, t..), (g, t + 8..), (g + 8, t + 8..)   b: (t.., g), (t + 8.., g)
///   c: (g, t), (g, t + 1), (g + 8, t), (g + 8, t + 1)
SRA_DEVICE void multiply_add(float (&c)[4], const Pair (&a)[4], const Pair (&b)[2]) {
  asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
/// The same for a 16 x 8, b 8 x 8: a[0], a[1] and b[0] of the above.
SRA_DEVICE void multiply_add(float (&c)[4], const Pair (&a)[2], const Pair (&b)[1]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(b[0]));
}

/// Loads N matrices of 8 x 8 bf16 from shared memory, or their transposes: lanes 8 i .. 8 i + 7 give the addresses of
/// the 8 rows of matrix i (16 bytes each, aligned to 16; of the last lanes for N = 1 and 2 none is read), and lane l
/// gets elements 2 (l % 4) and the next of row l / 4 of each.
/// @tparam Offset elements that are added to all addresses, as a part of the instruction
template <int N, bool Transposed = false, int Offset = 0>
SRA_DEVICE void load_matrices(Pair (&to)[N], const bf16* row) {
  static_assert(N == 1 || N == 2 || N == 4, "load_matrices: one, two or four");
  constexpr int offset = Offset * static_cast<int>(sizeof(bf16));
  const auto at = static_cast<std::uint32_t>(__cvta_generic_to_shared(row));
  if constexpr (N == 4 && Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4+%5];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at), "n"(offset)
                 : "memory");
  else if constexpr (N == 4)
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4+%5];"
                 : "=r"(to[0]), "=r"(to[1]), "=r"(to[2]), "=r"(to[3])
                 : "r"(at), "n"(offset)
                 : "memory");
  else if constexpr (N == 2 && Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2+%3];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(at), "n"(offset)
                 : "memory");
  else if constexpr (N == 2)
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2+%3];"
                 : "=r"(to[0]), "=r"(to[1])
                 : "r"(at), "n"(offset)
                 : "memory");
  else if constexpr (Transposed)
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {%0}, [%1+%2];"
                 : "=r"(to[0])
                 : "r"(at), "n"(offset)
                 : "memory");
  else
    asm volatile("ldmatrix.sync.aligned.m8n8.x1.shared.b16 {%0}, [%1+%2];"
                 : "=r"(to[0])
                 : "r"(at), "n"(offset)
                 : "memory");
}

/// Copies 16 bytes from global to shared memory, both aligned to 16, without passing through registers; zeros if not
/// `inside`.  Seen after wait_for_copies and a barrier.
SRA_DEVICE void copy_16_bytes(void* shared, const void* global, bool inside = true) {
  const auto to = static_cast<std::uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;"
               :
               : "r"(to), "l"(__cvta_generic_to_global(global)), "r"(inside ? 16 : 0)
               : "memory");
}
/// Ends a group of copies.
SRA_DEVICE void commit_copies() { asm volatile("cp.async.commit_group;" ::: "memory"); }
/// Waits until at most `left` of this thread's newest groups are under way.
template <int Left = 0>
SRA_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(Left) : "memory");
}

}  // namespace sra::arch
