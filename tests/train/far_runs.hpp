// What the tests of a far backend train: a tiny model, samples with labels, conditions and features, an alignment that takes all.
// SPDX-License-Identifier: MIT
#pragma once

#include "../temporary_folder.hpp"
#include "far_backend.hpp"
#include "tiny_run.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

namespace sra::test {

inline constexpr index_t encoder_width = 5;  // rows that are not a multiple of 16 bytes

/// SRALoss, and features of the samples beside it under a schedule of their own.
struct Both {
  using Inner = SRALoss<Layer<1>, Layer<2>>;
  Inner inner{.weight = warmup(0.5, 4)};

  template <class Model>
  struct Parameters {
    typename Inner::template Parameters<Model> inner;
    Linear<Model::config.hidden, encoder_width> out;
    static constexpr void visit(auto& self, auto&& f) {
      std::remove_cvref_t<decltype(self.inner)>::visit(self.inner, f);
      f("out", self.out);
    }
  };
  auto taps() const { return inner.taps(); }

  template <class P>
  auto operator()(P& pass, const auto& parameters) const {
    using C = typename P::context_type;
    const auto h = parameters.out(eval(1 * pass.student(inner.student)));       // [B, T, K]
    const auto target = pass.template features<4, encoder_width>();             // [B, T, K]
    const auto first = inner(pass, parameters.inner);                           // [1]
    const auto second = mean(cosine_features(h, target));                       // [1]
    const auto weight = pass.scheduled(warmup(0.25, 3));                        // [1]
    return Var<typename C::wide, Shape<1>, C>(first + fixed(weight) * second);  // [1]
  }
};

/// Classes in float, vectors in bf16.
template <class T>
using Carried = SiT<tiny, std::conditional_t<std::is_same_v<T, float>, Classes<3>, Vector<3>>>;
template <class B, class T>
using Run = Trainer<Carried<T>, Both, B, T>;

template <class B, class T>
typename Run<B, T>::Options options(const std::string& run = "") {
  return {.run = run,
          .batch = 6,
          .accumulate = 2,
          .seed = 5,
          .lr = warmup(3e-3, 6),
          .ema = {0.99, 0.5},
          .condition_dropout = 0.25f,
          .frozen = {"blocks.0.mlp.fc1.*"},
          .threads = 2,
          .quiet = true};
}

/// 13 items with all that samples may carry.
struct CarryingItems {
  struct Sample : Image<3, 8, 8> {
    static constexpr index_t condition_size = 3;
    static constexpr index_t feature_size = 4 * encoder_width;
  };
  std::size_t size() const { return 13; }
  int classes() const { return 3; }
  void read(std::size_t i, Rng rng, Row<Sample> out) const {
    out.label = static_cast<std::int32_t>(i % 3);
    index_t k = 0;
    for (const auto& part : {out.image, out.condition, out.features})
      for (float& x : part) x = rng.normal(k++) + 0.3f * static_cast<float>(out.label);
  }
};

/// The same numbers where a backend's host inputs are to lie: behind its door, if it has one.
template <class B, class X>
const X* placed(B& backend, const std::vector<X>& x) {
  if constexpr (requires { backend.inputs(); })
    return backend.inputs().keep(x);
  else
    return x.data();
}

/// Samples, and all that could be drawn for them.
struct Given {
  static constexpr index_t n = 5;
  std::vector<float> images, conditions, features, noise, times, teacher_times;
  std::vector<std::int32_t> labels;

  Given() {
    const Rng rng(9, Purpose::user, 0, 0);
    index_t k = 0;
    const auto draw = [&](std::vector<float>& x, index_t count) {
      for (index_t i = 0; i < count; ++i) x.push_back(rng.normal(k++));
    };
    draw(images, n * Tiny::ImageShape::sample_size());
    draw(noise, n * Tiny::ImageShape::sample_size());
    draw(conditions, n * 3);
    draw(features, n * 4 * encoder_width);
    for (index_t b = 0; b < n; ++b) {
      times.push_back(rng.uniform(b));
      teacher_times.push_back(0.9f * times.back());
      labels.push_back(static_cast<std::int32_t>(b % 3));
    }
  }

  template <class Model, class B>
  typename Model::Condition::View condition(B& backend) const {
    if constexpr (requires { Model::Condition::null_class; })
      return dense(placed(backend, labels), Shape<dynamic>{n});
    else
      return dense(placed(backend, conditions), Shape<dynamic, 3>{n});
  }
  template <class Model, class B>
  MicroBatch<Model> batch(B& backend) const {
    return {dense(placed(backend, images), typename Model::ImageShape{n}), condition<Model>(backend),
            placed(backend, features), 4 * encoder_width};
  }
  template <class Model, class B>
  Draws<Model, float> draws(B& backend) const {
    const Shape<dynamic> each{n};
    return {dense(placed(backend, times), each), dense(placed(backend, teacher_times), each),
            dense(placed(backend, noise), typename Model::ImageShape{n}), true};
  }
};

/// Parameters, averages and gradients, one after the other.
template <class Trainer>
std::vector<float> everything(const Trainer& t) {
  std::vector<float> all;
  const auto add = [&](const std::vector<float>& x) { all.insert(all.end(), x.begin(), x.end()); };
  for (const ParamInfo& p : t.engine().store().parameters()) {
    add(t.parameter_values(p.name));
    for (int i = 0; i < t.engine().store().emas(); ++i) add(t.ema_values(p.name, i));
    add(t.gradient_values(p.name));
  }
  return all;
}

/// Moves all parameters and averages away from their start, so that nothing is zero.
template <class Trainer>
void move_all(Trainer& t) {
  index_t k = 0;
  const Rng rng(4, Purpose::user, 0, 0);
  const auto moved = [&](std::vector<float> x) {
    for (float& v : x) v += 0.1f * rng.normal(k++);
    return x;
  };
  for (const ParamInfo& p : t.engine().store().parameters()) {
    t.set_parameter(p.name, moved(t.parameter_values(p.name)));
    for (int i = 0; i < t.engine().store().emas(); ++i) t.set_ema(p.name, moved(t.ema_values(p.name, i)), i);
  }
}

/// The root of the mean square of b − a, as a part of a's.
inline double distance(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, square = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    difference += std::pow(static_cast<double>(b[i]) - static_cast<double>(a[i]), 2),
        square += std::pow(static_cast<double>(a[i]), 2);
  return std::sqrt(difference / square);
}

}  // namespace sra::test
