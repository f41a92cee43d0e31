// Attention on the CPU as the op calls it: views become the pointers and distances of the kernels.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/backend/attention.hpp>
#include <sra/cpu/attention.hpp>
#include <sra/cpu/memory.hpp>

#include <cmath>

namespace sra::backend {

namespace detail {

template <int Heads, class T, class Q, class K, class Mask>
AttentionArgs<T> attention_args(View<T, Q> q, View<T, K> k, View<T, K> v, const Mask& mask) {
  AttentionArgs<T> args{.samples = q.shape.samples(),
                        .heads = Heads,
                        .queries = Q::sample_rows,
                        .keys = K::sample_rows,
                        .width = Q::width / Heads,
                        .q = q.data,
                        .k = k.data,
                        .v = v.data,
                        .q_token = q.pitch,
                        .k_token = k.pitch,
                        .v_token = v.pitch,
                        .q_sample = q.stride,
                        .k_sample = k.stride,
                        .v_sample = v.stride};
  args.scale = wide_t<T>(1) / std::sqrt(static_cast<wide_t<T>>(args.width));
  args.query_group = args.key_group = sra::detail::attention_groups<Q, K>(args.samples, mask);
  return args;
}

}  // namespace detail

/// o = softmax(q kᵀ / √d) v.  Reads q, k, v, writes o and lse.
template <int Heads, ContextOn<Cpu> C, class T, class Q, class K, class Mask>
void attention_forward(C& context, View<T, Q> o, wide_t<T>* lse, View<T, Q> q, View<T, K> k, View<T, K> v, Mask mask) {
  const Cost cost =
      sra::detail::attention_cost(q.shape.samples(), Q::sample_rows, K::sample_rows, Q::width, sizeof(T), 2);
  launch(context, "attention_forward", cost, [&](Cpu& cpu) {
    attention_forward(cpu, o.data, o.pitch, o.stride, lse, detail::attention_args<Heads>(q, k, v, mask));
  });
}

/// The gradients of v, k and q, written in this order, each as its mode says.
template <int Heads, ContextOn<Cpu> C, class T, class Q, class K, class Mask>
void attention_backward(C& context, View<const T, Q> dy, View<T, Q> o, const wide_t<T>* lse, View<T, Q> q, View<T, K> k,
                        View<T, K> v, Mask mask, Grad<T, Q> dq, Grad<T, K> dk, Grad<T, K> dv) {
  const auto to = [](const auto& g) { return AttentionGrad<T>{g.to.data, g.to.pitch, g.to.stride, g.mode}; };
  const Cost cost =
      sra::detail::attention_cost(q.shape.samples(), Q::sample_rows, K::sample_rows, Q::width, sizeof(T), 5);
  launch(context, "attention_backward", cost, [&](Cpu& cpu) {
    const AttentionResult<T> result{o.data, o.pitch, o.stride, lse, dy.data, dy.pitch, dy.stride};
    attention_backward(cpu, to(dq), to(dk), to(dv), result, detail::attention_args<Heads>(q, k, v, mask));
  });
}

}  // namespace sra::backend
