// The operands of attention as kernels want them: sizes, the kernels these lead to, gradients that share memory.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/attention.hpp>
#include <sra/cuda/attention_backward.cuh>
#include <sra/cuda/attention_forward.cuh>
#include <sra/cuda/attention_plain.cuh>
#include <sra/cuda/attention_warpgroups.cuh>
#include <sra/cuda/attention_warpgroups_backward.cuh>
#include <sra/expr/overlap.hpp>

#include <cmath>
#include <cstdint>
#include <type_traits>

namespace sra::gpu::detail {

/// The least power of two of warps, at most `most`, whose strips of 16 rows cover `rows`.
constexpr int warps_for(index_t rows, int strips, int most) {
  int warps = 1;
  while (warps < most && 16 * strips * warps < rows) warps *= 2;
  return warps;
}

/// The sizes of attention with heads of Width, and the kernels they lead to.
template <int Heads, class Q, class K, class Mask>
struct AttentionSizes {
  static constexpr int heads = Heads, queries = static_cast<int>(Q::sample_rows),
                       keys = static_cast<int>(K::sample_rows);
  static constexpr int width = static_cast<int>(Q::width) / Heads;
  static constexpr bool masked = requires(Mask mask) { mask.group; };
  static constexpr int strips =
      width <= 80 ? 2 : 1;  ///< 32 rows a warp need half the loads; their sums must fit in registers

  using Forward = AttentionForward<width, strips, warps_for(queries, strips, 4), masked>;
  using WarpgroupForward = WarpgroupAttentionForward<width, queries <= 64 ? 1 : 2, masked>;
  using WarpgroupBackward = WarpgroupAttentionBackward<width, keys <= (width <= 72 ? 128 : 64) ? 1 : 2, masked>;
  using Backward = AttentionBackward<width, strips, warps_for(keys, strips, 8), masked>;

  template <class W>
  static W scale() {
    return W(1) / std::sqrt(static_cast<W>(width));
  }
  template <class W>
  static W base() {
    return scale<W>() * W(1.4426950408889634);
  }
};

template <class T, class U, class S>
HeadRows<T> head_rows(const View<U, S>& v) {
  return {v.data, v.pitch, v.stride};
}
template <class T, class S>
HeadGrad<T> head_grad(const Grad<T, S>& g) {
  return {head_rows<T>(g.to), g.mode};
}

/// Whether all rows start on multiples of 16 bytes and consist of whole ones, or are not there.
template <class T, class S>
bool in_pieces(const View<T, S>& v) {
  return takes_vectors<8>(v);
}
template <class T, class S>
bool in_pieces(const Grad<T, S>& g) {
  return !g || takes_vectors<8>(g.to);
}

/// Whether two gradients are one: threads that have the same rows and columns of both write them in order.
template <class T, class A, class B>
bool same_rows(const Grad<T, A>& a, const Grad<T, B>& b) {
  return a && b && a.to.data == b.to.data;
}

/// What both directions read, as the kernels want it.
template <int Heads, class T, class Q, class K, class Mask>
struct AttentionOperands {
  using Sizes = AttentionSizes<Heads, Q, K, Mask>;
  using W = wide_t<T>;
  static constexpr bool may_take_tensor_cores = std::is_same_v<T, bf16> && Sizes::width % 8 == 0 && Sizes::width <= 128;
  static constexpr bool may_take_warpgroups = may_take_tensor_cores && Sizes::width >= 16;

  View<T, Q> o, q;
  View<T, K> k, v;
  Mask mask;

  index_t samples() const { return q.shape.samples(); }
  index_t heads() const { return samples() * Sizes::heads; }
  const std::int32_t* group() const { return sra::detail::attention_groups<Q, K>(samples(), mask); }
  Cost cost(int products) const {
    return sra::detail::attention_cost(samples(), Q::sample_rows, K::sample_rows, Q::width, sizeof(T), products);
  }
  template <class Kernel>
  Kernel forward_kernel(float* lse) const {
    return {{.o = head_rows<bf16>(o),
             .lse = lse,
             .q = head_rows<const bf16>(q),
             .k = head_rows<const bf16>(k),
             .v = head_rows<const bf16>(v),
             .query_group = group(),
             .key_group = group(),
             .heads = Sizes::heads,
             .queries = Sizes::queries,
             .keys = Sizes::keys,
             .base = Sizes::template base<float>()}};
  }
  template <class Kernel>
  void run_forward(Cuda& cuda, float* lse) const {
    const index_t blocks = Kernel::blocks(samples(), Sizes::heads, Sizes::queries);
    arch::launch_kernel(cuda.stream(), blocks, Kernel::shared_bytes, forward_kernel<Kernel>(lse));
  }
  PlainAttention<T, Sizes::width, Sizes::masked> plain() const {
    return {head_rows<const T>(q),
            head_rows<const T>(k),
            head_rows<const T>(v),
            group(),
            group(),
            samples(),
            Sizes::heads,
            Sizes::queries,
            Sizes::keys,
            Sizes::template scale<W>(),
            Sizes::template base<W>()};
  }
};

/// And what backward reads and writes beside it.
template <int Heads, class T, class Q, class K, class Mask>
struct AttentionPull : AttentionOperands<Heads, T, Q, K, Mask> {
  using Base = AttentionOperands<Heads, T, Q, K, Mask>;
  using typename Base::Sizes;

  View<const T, Q> dy;
  const wide_t<T>* lse;
  Grad<T, Q> dq;
  Grad<T, K> dk, dv;

  /// Whether gradients overlap row over another row, so that different threads write one element.
  bool tangled() const {
    using sra::detail::overlap;
    return overlap(dq, dk) || overlap(dq, dv) || overlap(dk, dv);
  }
  bool takes_tensor_cores() const {
    return !tangled() && in_pieces(this->q) && in_pieces(this->k) && in_pieces(this->v) && in_pieces(this->o) &&
           in_pieces(dy) && in_pieces(dq) && in_pieces(dk) && in_pieces(dv);
  }
  /// f with the kernel for tensor cores that the backend is to use, as a type.
  template <class F>
  void with_kernel(AttentionKernel which, const F& f) const {
    if constexpr (Base::may_take_warpgroups)
      if (which == AttentionKernel::wgmma) return f(std::type_identity<typename Sizes::WarpgroupBackward>{});
    f(std::type_identity<typename Sizes::Backward>{});
  }
  /// How many floats such a kernel adds dq up in.
  template <class Kernel>
  index_t sums() const {
    const bool at_once = Sizes::keys <= Kernel::rows && !same_rows(dq, dk) && !same_rows(dq, dv);
    return !dq || at_once ? 0 : this->heads() * Sizes::queries * Sizes::width;
  }

  /// @param sums room for sums() floats, or null if that is 0  @param stages see AttentionGradients
  template <class Kernel>
  Kernel kernel(float* sums, int stages) const {
    return {{.q = head_rows<const bf16>(this->q),
             .k = head_rows<const bf16>(this->k),
             .v = head_rows<const bf16>(this->v),
             .o = head_rows<const bf16>(this->o),
             .dy = head_rows<const bf16>(dy),
             .lse = lse,
             .query_group = this->group(),
             .key_group = this->group(),
             .dq = head_grad(dq),
             .dk = head_grad(dk),
             .dv = head_grad(dv),
             .sums = sums,
             .heads = Sizes::heads,
             .queries = Sizes::queries,
             .keys = Sizes::keys,
             .stages = stages,
             .scale = Sizes::template scale<float>(),
             .base = Sizes::template base<float>()}};
  }
  template <class Kernel>
  void on_tensor_cores(Cuda& cuda, float* sums) const {
    const int stages = Kernel::shared_bytes(2) <= cuda.shared_memory() ? 2 : 1;
    arch::launch_kernel(cuda.stream(), this->heads(), Kernel::shared_bytes(stages), kernel<Kernel>(sums, stages));
  }
  void plainly(Cuda& cuda) const {
    using Shared = PlainAttentionBackward<T, Sizes::width, Sizes::masked>;
    using Keys = PlainKeyGradients<T, Sizes::width, Sizes::masked>;
    using Queries = PlainQueryGradient<T, Sizes::width, Sizes::masked>;
    const Shared shared{this->plain(), head_rows<const T>(this->o), head_rows<const T>(dy), lse};
    const HeadGrad<T> none{}, to_q = head_grad(dq), to_k = head_grad(dk), to_v = head_grad(dv);
    const index_t key_blocks = Shared::blocks(this->heads() * Sizes::keys);
    const bool together = !tangled();
    if (dv) arch::launch_kernel(cuda.stream(), key_blocks, 0, Keys{shared, together ? to_k : none, to_v});
    if (dk && !(dv && together)) arch::launch_kernel(cuda.stream(), key_blocks, 0, Keys{shared, to_k, none});
    if (dq)
      arch::launch_kernel(cuda.stream(), Shared::blocks(this->heads() * Sizes::queries), 0, Queries{shared, to_q});
  }
};

}  // namespace sra::gpu::detail
