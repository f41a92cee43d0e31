// Small models of every kind of condition, inputs that are not square, and what to run them on.
// SPDX-License-Identifier: MIT
#pragma once

#include "../nn/module_check.hpp"

#include <sra/cpu/draw.hpp>
#include <sra/models/dit.hpp>

#include <cstdint>
#include <type_traits>
#include <vector>

namespace sra::tiny_models {

using module_check::argument;
using module_check::Argument;

inline constexpr DiTConfig grey{
    .height = 8, .width = 16, .channels = 1, .patch = 4, .hidden = 16, .depth = 2, .heads = 2};
inline constexpr DiTConfig rgb{.height = 4,
                               .width = 8,
                               .channels = 3,
                               .patch = 2,
                               .hidden = 12,
                               .depth = 1,
                               .heads = 1,
                               .mlp_ratio = 2,
                               .qk_norm = true};
inline constexpr DiTConfig sigma{
    .height = 4, .width = 2, .channels = 5, .patch = 2, .hidden = 8, .depth = 2, .heads = 2, .learn_sigma = true};
using Grey = SiT<grey, Classes<3>>;
using Rgb = SiT<rgb, Vector<2>>;
using Sigma = SiT<sigma, Unconditional>;

/// Three conditions, the last of which is the null condition, and three times.
template <class Condition>
auto conditions() {
  static const std::vector<std::int32_t> labels{2, 0, 3};
  static const std::vector<float> vectors{1.0f, -0.5f, 0.25f, 2.0f, 0.0f, 0.0f};
  if constexpr (std::is_same_v<Condition, Classes<3>>)
    return dense(labels.data(), Shape<dynamic>{3});
  else if constexpr (std::is_same_v<Condition, Vector<2>>)
    return dense(vectors.data(), Shape<dynamic, 2>{3});
  else
    return Unconditional::View{};
}
template <class T>
View<const T, Shape<dynamic>> times() {
  static const std::vector<T> t{T(0.1), T(0.5), T(1)};
  return dense(t.data(), Shape<dynamic>{3});
}

inline constexpr auto forward = [](const auto& model, auto x) {
  using Model = std::remove_cvref_t<decltype(model)>;
  return model(x, times<typename decltype(x)::type>(), conditions<typename Model::Condition>());
};

template <class Model>
Argument<typename Model::ImageShape> images() {
  return argument<typename Model::ImageShape>(3, 1);
}

}  // namespace sra::tiny_models
