// Products of a warpgroup, four warps, that read their right operand from shared memory on their own: wgmma.  sm_90a only.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cuda/arch/tensor_cores.cuh>

#include <cstdint>

namespace sra::arch {

inline constexpr int warpgroup_size = 128;

/// Whether the code that runs has the instructions of this header: if not, none of its functions may be called.
SRA_DEVICE constexpr bool has_warpgroup_products() {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
  return true;
#else
  return false;
#endif
}

/// Where p, which points to shared memory, lies in it, in bytes.
SRA_DEVICE std::uint32_t shared_address(const void* p) {
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(p));
}

/// What this thread has written to shared memory, and copied to it and waited for, is seen by products that begin after
/// the next barrier: these read memory by another way (PTX ISA, "Async proxy").
SRA_DEVICE void publish_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

/// For the compiler, these registers are read and written here.
SRA_DEVICE void touch(float& x) { asm volatile("" : "+f"(x)::"memory"); }
SRA_DEVICE void touch(Pair& x) { asm volatile("" : "+r"(x)::"memory"); }
template <class T, int N>
SRA_DEVICE void touch(T (&x)[N]) {
  SRA_UNROLL for (int i = 0; i < N; ++i) touch(x[i]);
}

/// Before products use these registers, if the thread has used them since products last did.  Like all that follows, it is
/// called by all threads of a warpgroup.
template <class... R>
SRA_DEVICE void lend_to_products(R&... registers) {
  (touch(registers), ...);
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

/// Begins d = a b, or d += a b, for a 64 x 16, b 16 x N, d 64 x N.  Rows 16 w .. 16 w + 15 of a and d are in warp w of the
/// warpgroup, as multiply_add has them; columns 8 j .. 8 j + 7 of d are in d[First + j] (PTX ISA, "Matrix Fragments for
/// wgmma.mma_async.m64nNk16").  The registers, and what b describes, belong to the product until it has been waited for;
/// but products of one form may follow each other on one d.
/// @tparam Transposed whether 16 bytes of b run along its columns and not along the sum  @param b descriptor
template <int N, bool Accumulate, bool Transposed, int First = 0, int M>
SRA_DEVICE void multiply_add_later(float (&d)[M][4], const Pair (&a)[4], std::uint64_t b) {
  static_assert(N == 72 || N == 64 || N == 32 || N == 16 || N == 8, "multiply_add_later: no form for N");
  static_assert(8 * (M - First) >= N);
  if constexpr (N == 72)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %41, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n72k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,"
        "%23,%24,%25,%26,%27,%28,%29,%30,%31,%32,%33,%34,%35"
        "}, {%36,%37,%38,%39}, %40, p, 1, 1, %42;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3]),
          "+f"(d[First + 2][0]), "+f"(d[First + 2][1]), "+f"(d[First + 2][2]), "+f"(d[First + 2][3]),
          "+f"(d[First + 3][0]), "+f"(d[First + 3][1]), "+f"(d[First + 3][2]), "+f"(d[First + 3][3]),
          "+f"(d[First + 4][0]), "+f"(d[First + 4][1]), "+f"(d[First + 4][2]), "+f"(d[First + 4][3]),
          "+f"(d[First + 5][0]), "+f"(d[First + 5][1]), "+f"(d[First + 5][2]), "+f"(d[First + 5][3]),
          "+f"(d[First + 6][0]), "+f"(d[First + 6][1]), "+f"(d[First + 6][2]), "+f"(d[First + 6][3]),
          "+f"(d[First + 7][0]), "+f"(d[First + 7][1]), "+f"(d[First + 7][2]), "+f"(d[First + 7][3]),
          "+f"(d[First + 8][0]), "+f"(d[First + 8][1]), "+f"(d[First + 8][2]), "+f"(d[First + 8][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(Accumulate), "n"(Transposed)
        : "memory");
  else if constexpr (N == 64)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %37, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,"
        "%23,%24,%25,%26,%27,%28,%29,%30,%31"
        "}, {%32,%33,%34,%35}, %36, p, 1, 1, %38;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3]),
          "+f"(d[First + 2][0]), "+f"(d[First + 2][1]), "+f"(d[First + 2][2]), "+f"(d[First + 2][3]),
          "+f"(d[First + 3][0]), "+f"(d[First + 3][1]), "+f"(d[First + 3][2]), "+f"(d[First + 3][3]),
          "+f"(d[First + 4][0]), "+f"(d[First + 4][1]), "+f"(d[First + 4][2]), "+f"(d[First + 4][3]),
          "+f"(d[First + 5][0]), "+f"(d[First + 5][1]), "+f"(d[First + 5][2]), "+f"(d[First + 5][3]),
          "+f"(d[First + 6][0]), "+f"(d[First + 6][1]), "+f"(d[First + 6][2]), "+f"(d[First + 6][3]),
          "+f"(d[First + 7][0]), "+f"(d[First + 7][1]), "+f"(d[First + 7][2]), "+f"(d[First + 7][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(Accumulate), "n"(Transposed)
        : "memory");
  else if constexpr (N == 32)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %21, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
        "}, {%16,%17,%18,%19}, %20, p, 1, 1, %22;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3]),
          "+f"(d[First + 2][0]), "+f"(d[First + 2][1]), "+f"(d[First + 2][2]), "+f"(d[First + 2][3]),
          "+f"(d[First + 3][0]), "+f"(d[First + 3][1]), "+f"(d[First + 3][2]), "+f"(d[First + 3][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(Accumulate), "n"(Transposed)
        : "memory");
  else if constexpr (N == 16)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %13, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7"
        "}, {%8,%9,%10,%11}, %12, p, 1, 1, %14;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(Accumulate), "n"(Transposed)
        : "memory");
  else if constexpr (N == 8)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %9, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3"
        "}, {%4,%5,%6,%7}, %8, p, 1, 1, %10;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "n"(Accumulate), "n"(Transposed)
        : "memory");
}

/// The same with a in shared memory, too.
/// @tparam TransposedA whether 16 bytes of a run along its rows and not along the sum
template <int N, bool Accumulate, bool TransposedA, bool TransposedB, int First = 0, int M>
SRA_DEVICE void multiply_shared_later(float (&d)[M][4], std::uint64_t a, std::uint64_t b) {
  static_assert(N == 64 || N == 40 || N == 32 || N == 16 || N == 8, "multiply_shared_later: no form for N");
  static_assert(8 * (M - First) >= N);
  if constexpr (N == 64)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %34, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,"
        "%23,%24,%25,%26,%27,%28,%29,%30,%31"
        "}, %32, %33, p, 1, 1, %35, %36;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3]),
          "+f"(d[First + 2][0]), "+f"(d[First + 2][1]), "+f"(d[First + 2][2]), "+f"(d[First + 2][3]),
          "+f"(d[First + 3][0]), "+f"(d[First + 3][1]), "+f"(d[First + 3][2]), "+f"(d[First + 3][3]),
          "+f"(d[First + 4][0]), "+f"(d[First + 4][1]), "+f"(d[First + 4][2]), "+f"(d[First + 4][3]),
          "+f"(d[First + 5][0]), "+f"(d[First + 5][1]), "+f"(d[First + 5][2]), "+f"(d[First + 5][3]),
          "+f"(d[First + 6][0]), "+f"(d[First + 6][1]), "+f"(d[First + 6][2]), "+f"(d[First + 6][3]),
          "+f"(d[First + 7][0]), "+f"(d[First + 7][1]), "+f"(d[First + 7][2]), "+f"(d[First + 7][3])
        : "l"(a), "l"(b), "n"(Accumulate), "n"(TransposedA), "n"(TransposedB)
        : "memory");
  else if constexpr (N == 40)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %22, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n40k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19"
        "}, %20, %21, p, 1, 1, %23, %24;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3]),
          "+f"(d[First + 2][0]), "+f"(d[First + 2][1]), "+f"(d[First + 2][2]), "+f"(d[First + 2][3]),
          "+f"(d[First + 3][0]), "+f"(d[First + 3][1]), "+f"(d[First + 3][2]), "+f"(d[First + 3][3]),
          "+f"(d[First + 4][0]), "+f"(d[First + 4][1]), "+f"(d[First + 4][2]), "+f"(d[First + 4][3])
        : "l"(a), "l"(b), "n"(Accumulate), "n"(TransposedA), "n"(TransposedB)
        : "memory");
  else if constexpr (N == 32)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %18, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
        "}, %16, %17, p, 1, 1, %19, %20;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3]),
          "+f"(d[First + 2][0]), "+f"(d[First + 2][1]), "+f"(d[First + 2][2]), "+f"(d[First + 2][3]),
          "+f"(d[First + 3][0]), "+f"(d[First + 3][1]), "+f"(d[First + 3][2]), "+f"(d[First + 3][3])
        : "l"(a), "l"(b), "n"(Accumulate), "n"(TransposedA), "n"(TransposedB)
        : "memory");
  else if constexpr (N == 16)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %10, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n16k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3,%4,%5,%6,%7"
        "}, %8, %9, p, 1, 1, %11, %12;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3]),
          "+f"(d[First + 1][0]), "+f"(d[First + 1][1]), "+f"(d[First + 1][2]), "+f"(d[First + 1][3])
        : "l"(a), "l"(b), "n"(Accumulate), "n"(TransposedA), "n"(TransposedB)
        : "memory");
  else if constexpr (N == 8)
    asm volatile(
        "{\n.reg .pred p;\nsetp.ne.b32 p, %6, 0;\n"
        "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {"
        "%0,%1,%2,%3"
        "}, %4, %5, p, 1, 1, %7, %8;\n}"
        : "+f"(d[First + 0][0]), "+f"(d[First + 0][1]), "+f"(d[First + 0][2]), "+f"(d[First + 0][3])
        : "l"(a), "l"(b), "n"(Accumulate), "n"(TransposedA), "n"(TransposedB)
        : "memory");
}

/// Ends a group of products.
SRA_DEVICE void commit_products() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
/// Waits until at most `Left` of the newest groups are under way.  @param registers that the thread has back
template <int Left, class... R>
SRA_DEVICE void wait_for_products(R&... registers) {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(Left) : "memory");
  (touch(registers), ...);
}

}  // namespace sra::arch
