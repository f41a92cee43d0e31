// The linear layer.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/nn/init.hpp>
#include <sra/nn/param.hpp>
#include <sra/ops/linear.hpp>

namespace sra {

/// y = x Wᵀ + b with W [Out, In], as PyTorch stores it.  @tparam Init of the weight; the bias starts at zero
template <index_t In, index_t Out, class Init = init::XavierUniform>
struct Linear {
  Param<Out, In> weight;
  Param<Out> bias;

  static constexpr void visit(auto& self, auto&& f) {
    f("weight", self.weight);
    f("bias", self.bias);
  }

  /// Initial values: weight by Init, bias zero.
  template <class W>
  void initialise(W* values, std::string_view name, std::uint64_t seed) const {
    const Rng rng(seed, Purpose::initialise, 0, init::name_key(name));
    Init::fill(values + weight.offset, Out * In, Out, In, rng);
    init::Zero::fill(values + bias.offset, Out, Out, In, rng);
  }

  /// @param input [..., In]  @return [..., Out]
  auto operator()(const Pointwise auto& input) const {
    const auto x = eval(input);
    static_assert(decltype(x)::shape::width == In, "Linear<In, Out>: the last extent of the input must equal In");
    auto& c = x.context();
    return linear(x, sra::weight(c, weight), leaf(c, bias));
  }

  /// gelu(x Wᵀ + b) in one pass.  @param x [..., In]  @return [..., Out]
  template <Variable X>
  auto gelu(X x) const {
    static_assert(X::shape::width == In, "Linear<In, Out>: the last extent of the input must equal In");
    auto& c = x.context();
    return linear_gelu(x, sra::weight(c, weight), leaf(c, bias));
  }
};

}  // namespace sra
