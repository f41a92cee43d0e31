// An alignment of a user's that fails on request, in a namespace of its own.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <stdexcept>

namespace user {

/// What a test asks of the next step.
struct Control {
  enum Fails { never, in_alignment, in_kernel, in_backward };
  double factor = 1;     ///< of the alignment's loss
  double of_probed = 0;  ///< factor of the sum of the parameter "probed"
  Fails fails = never;
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// SRALoss<Layer<1>, Layer<2>> times a factor.  Owns a head, a parameter whose gradient is a factor, and one that
/// nobody uses.
struct Probe {
  using Inner = sra::SRALoss<sra::Layer<1>, sra::Layer<2>>;
  const Control* control = nullptr;
  Inner inner{};

  template <class Model>
  struct Parameters {
    typename Inner::template Parameters<Model> inner;
    sra::Param<5> probed;
    sra::Param<5> unused;
    static constexpr void visit(auto& self, auto&& f) {
      std::remove_cvref_t<decltype(self.inner)>::visit(self.inner, f);
      f("probed", self.probed);
      f("unused", self.unused);
    }
  };
  template <class Model>
  void check() const {
    inner.check<Model>();
  }
  auto taps() const { return inner.taps(); }

  template <class P, class Parameters>
  auto operator()(P& pass, const Parameters& parameters) const {
    using C = typename P::context_type;
    const Control wish = control ? *control : Control{};
    auto& context = pass.context();
    if (wish.fails == Control::in_backward)
      sra::mark(context, [](C&) { throw Failure("user: fails in the backward pass"); });
    const auto loss = inner(pass, parameters.inner);  // [1]
    if (wish.fails == Control::in_alignment) throw Failure("user: fails in the alignment");
    if (wish.fails == Control::in_kernel)
      sra::launch(context, "user", {}, [](auto& backend) {
        backend.threads().for_each(100, [](sra::index_t i, int) {
          if (i == 57) throw Failure("user: fails in a kernel");
        });
      });
    const auto factor = pass.scheduled(sra::constant(wish.factor));      // [1]
    sra::Var<typename C::wide, sra::Shape<1>, C> total = factor * loss;  // [1]
    if (wish.of_probed != 0)
      total = total + pass.scheduled(sra::constant(wish.of_probed)) * sra::sum(sra::leaf(context, parameters.probed));
    return total;
  }
};

}  // namespace user
