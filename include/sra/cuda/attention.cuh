// Attention on the GPU as the op calls it: chooses the kernel for the operands and launches it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/arena.hpp>
#include <sra/cuda/attention_operands.cuh>

#include <type_traits>

namespace sra::gpu {

/// o = softmax(q kᵀ / √d) v, d = D / Heads; a query that sees no key gets o = 0.  Reads q, k, v, writes o and lse. bf16
/// in rows of whole 16 bytes with d a multiple of 8 up to 128 runs on tensor cores (CudaOptions::attention says how), with p
/// rounded to bf16; the rest does not.
/// @param lse [B, Heads, T]: log2 of the sum of 2^(q k log2(e) / √d); +inf where no key is seen
template <int Heads, ContextOn<Cuda> C, class T, class Q, class K, class Mask>
void attention_forward(C& context, View<T, Q> o, wide_t<T>* lse, View<T, Q> q, View<T, K> k, View<T, K> v, Mask mask) {
  using Operands = detail::AttentionOperands<Heads, T, Q, K, Mask>;
  using Sizes = typename Operands::Sizes;
  const Operands at{o, q, k, v, mask};
  launch(context, "attention_forward", at.cost(2), [&](Cuda& cuda) {
    if constexpr (Operands::may_take_tensor_cores) {
      if (detail::in_pieces(o) && detail::in_pieces(q) && detail::in_pieces(k) && detail::in_pieces(v)) {
        if constexpr (Operands::may_take_warpgroups)
          if (cuda.attention() == AttentionKernel::wgmma)
            return at.template run_forward<typename Sizes::WarpgroupForward>(cuda, lse);
        return at.template run_forward<typename Sizes::Forward>(cuda, lse);
      }
    }
    using Kernel = detail::PlainAttentionForward<T, Sizes::width, Sizes::masked>;
    const Kernel kernel{at.plain(), detail::head_rows<T>(o), lse};
    arch::launch_kernel(cuda.stream(), Kernel::blocks(at.heads() * Sizes::queries), 0, kernel);
  });
}

/// The gradients of v, k and q, each as its mode says, in this order where they share memory.  Sums in float, in the
/// order of the queries (dk, dv) and of the keys (dq): the same bits every time.  On tensor cores p and its gradient
/// are rounded to bf16. Takes [B, Heads, T, d] floats on the way if there are more keys than one block of threads
/// keeps, 256 (128 if d > 80, with wgmma if d > 72), or dq overlaps dk or dv.
template <int Heads, ContextOn<Cuda> C, class T, class Q, class K, class Mask>
void attention_backward(C& context, View<const T, Q> dy, View<T, Q> o, const wide_t<T>* lse, View<T, Q> q, View<T, K> k,
                        View<T, K> v, Mask mask, Grad<T, Q> dq, Grad<T, K> dk, Grad<T, K> dv) {
  if (!dq && !dk && !dv) return;
  using Pull = detail::AttentionPull<Heads, T, Q, K, Mask>;
  const Pull pull{{o, q, k, v, mask}, dy, lse, dq, dk, dv};
  if constexpr (Pull::may_take_tensor_cores) {
    if (pull.takes_tensor_cores()) {
      pull.with_kernel(context.backend().attention(), [&]<class Kernel>(std::type_identity<Kernel>) {
        const Arena::Mark before = context.workspace().activations.mark();
        const index_t count = pull.template sums<Kernel>();
        float* const sums = count > 0 ? context.template take<float>(count) : nullptr;
        launch(context, "attention_backward", pull.cost(5),
               [&](Cuda& cuda) { pull.template on_tensor_cores<Kernel>(cuda, sums); });
        context.workspace().activations.pop(before);
      });
      return;
    }
  }
  launch(context, "attention_backward", pull.cost(5), [&](Cuda& cuda) { pull.plainly(cuda); });
}

}  // namespace sra::gpu
