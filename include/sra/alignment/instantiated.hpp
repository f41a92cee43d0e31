// What training and sampling compute that no alignment changes, so that a program can compile it apart from its alignment.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/autograd/var.hpp>
#include <sra/core/settings.hpp>
#include <sra/diffusion/flow_matching.hpp>
#include <sra/diffusion/sampler.hpp>

#include <type_traits>

/// Compiles what Instantiated<Model, B, T, Objective> does in one source of a program, so that the others, which change more
/// often, need not.  In the header that defines the model, and in that source:
///
///     extern SRA_INSTANTIATE(Model);   // model.hpp
///     SRA_INSTANTIATE(Model);          // model.cpp
///
/// It takes the arguments of Trainer without its Align: SRA_INSTANTIATE(Model, sra::Cpu, sra::bf16).  Without either line
/// everything works as well; every source then compiles what it uses.
#define SRA_INSTANTIATE(...) template struct sra::Instantiated<__VA_ARGS__>

namespace sra {

namespace backend {
class Cpu;
}

/// A model's on_block without its type: what a pass over the blocks calls with each block's number and result.
/// What is called must outlive the visitor.  @tparam X Var of [B, T, D]
template <Variable X>
class BlockVisitor {
 public:
  template <class F>
  explicit BlockVisitor(F& on_block) : to_(&on_block), call_(&call<F>) {}

  template <Variable Y>
  void operator()(int i, Y x) const {
    static_assert(std::is_same_v<X, Y>, "on_block: what a model hands over must be [B, T, D] of residual_t<Context>");
    call_(to_, i, x);
  }

 private:
  template <class F>
  static void call(void* to, int i, X x) {
    (*static_cast<F*>(to))(i, x);
  }

  void* to_;
  void (*call_)(void*, int, X);
};

/// The parts of training and sampling that depend on model, backend, type and objective alone.  They are no inline functions, so
/// that SRA_INSTANTIATE decides where they are compiled.
template <class Model, Backend B = backend::Cpu, class T = float, class Objective = FlowMatching<>>
struct Instantiated {
  using W = wide_t<T>;
  using Traced = Recording<B, T>;
  using Quiet = Detached<B, T>;
  using Times = View<const W, Shape<dynamic>>;
  using Condition = typename Model::Condition::View;
  template <Context C>
  using Image = Var<W, typename Model::ImageShape, C>;
  template <Context C>
  using Tokens = Var<residual_t<C>, typename Model::TokenShape, C>;
  template <Context C>
  using Losses = Var<W, Shape<dynamic>, C>;
  using Draws = Sampler<Model, B, T, typename Objective::path>;

  /// The student's pass: the denoising loss of each sample.  @param x, noise [B, H, W, C]  @param t [B]  @return [B]
  static Losses<Traced> denoising(const Model& model, const Objective& objective, Image<Traced> x, Image<Traced> noise,
                                  Times t, Condition y, BlockVisitor<Tokens<Traced>> on_block);
  /// The same without a tape.
  static Losses<Quiet> denoising(const Model& model, const Objective& objective, Image<Quiet> x, Image<Quiet> noise,
                                 Times t, Condition y);
  /// The teacher's pass: the residual stream after the blocks 1 … last.  @return [B, T, D]
  static Tokens<Quiet> features(const Model& model, const Objective& objective, Image<Quiet> x, Image<Quiet> noise,
                                Times t, Condition y, int last);
  /// The gradient's squared norm.
  static double squares(Quiet& context, const W* gradient, index_t count);
  /// Clipping, AdamW and averages of a range of parameters.
  static void update(Quiet& context, const UpdateArgs<W, T>& args);
  /// A sampler's images.  @param images [N, H, W, C], written
  static void sample(Draws& sampler, View<typename Draws::Number, typename Model::ImageShape> images, Condition y,
                     const SamplerOptions& options);
};

template <class Model, Backend B, class T, class Objective>
auto Instantiated<Model, B, T, Objective>::denoising(const Model& model, const Objective& objective, Image<Traced> x,
                                                     Image<Traced> noise, Times t, Condition y,
                                                     BlockVisitor<Tokens<Traced>> on_block) -> Losses<Traced> {
  return objective.loss(model(objective.noised(x, noise, t), t, y, on_block), x, noise, t);
}

template <class Model, Backend B, class T, class Objective>
auto Instantiated<Model, B, T, Objective>::denoising(const Model& model, const Objective& objective, Image<Quiet> x,
                                                     Image<Quiet> noise, Times t, Condition y) -> Losses<Quiet> {
  return objective.loss(model(objective.noised(x, noise, t), t, y), x, noise, t);
}

template <class Model, Backend B, class T, class Objective>
auto Instantiated<Model, B, T, Objective>::features(const Model& model, const Objective& objective, Image<Quiet> x,
                                                    Image<Quiet> noise, Times t, Condition y, int last)
    -> Tokens<Quiet> {
  const auto s = model.condition(x.context(), t, y);               // [B, D]
  const auto tokens = model.embed(objective.noised(x, noise, t));  // [B, T, D]
  return model.run(tokens, s, last, [](int, const auto&) {});      // [B, T, D]
}

template <class Model, Backend B, class T, class Objective>
double Instantiated<Model, B, T, Objective>::squares(Quiet& context, const W* gradient, index_t count) {
  return squared_norm(context, gradient, count);
}

template <class Model, Backend B, class T, class Objective>
void Instantiated<Model, B, T, Objective>::update(Quiet& context, const UpdateArgs<W, T>& args) {
  update_parameters(context, args);
}

template <class Model, Backend B, class T, class Objective>
void Instantiated<Model, B, T, Objective>::sample(Draws& sampler,
                                                  View<typename Draws::Number, typename Model::ImageShape> images,
                                                  Condition y, const SamplerOptions& options) {
  sampler.sample(images, y, options);
}

}  // namespace sra
