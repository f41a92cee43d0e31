// Recomputation: what is not kept for the backward pass but made there a second time.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>

namespace sra {

/// What a training step computes a second time in its backward pass instead of keeping it, of each block.  Results have the
/// same bits.
enum class Recompute {
  none,       ///< nothing
  norm,       ///< the results of both norms
  norm_gelu,  ///< those and the result of the GELU
  block       ///< everything but the block's input, for a third more FLOPs.   arXiv:1604.06174
};

/// y = f(x, more...), keeping only x and more.  The segment runs Detached now and again under Recording when the
/// backward pass arrives; both runs give the same bits, since randomness is never drawn inside a segment.
/// Chen et al. 2016, arXiv:1604.06174.
/// @param f a module or function object that outlives the backward pass  @return a value of x's type
template <class F, Variable X, Variable... More>
X checkpoint(const F& f, X x, More... more) {
  using C = typename X::context_type;
  if constexpr (!C::recording) {
    return f(x, more...);
  } else {
    C& context = x.context();
    X y = x.like();
    Detached<typename C::backend_type, typename C::type> quiet{context.workspace(), context.table()};
    const auto detached = [&](auto v) { return constant(quiet, v.value); };
    const Arena::Mark before = context.workspace().activations.mark();
    copy(context, y.value, f(detached(x), detached(more)...).value);
    context.workspace().activations.pop(before);
    const F* again = &f;
    return record(y, [=](C& c, auto dy) {
      Tape::Record* here = c.tape().head();
      X z = (*again)(x, more...);
      deposit(c, z.grad(), dy);
      c.tape().unwind(c, here);
    });
  }
}

/// A segment that is gone before the backward pass.
template <class F, class... X>
void checkpoint(const F&& f, X... x) = delete;

}  // namespace sra
