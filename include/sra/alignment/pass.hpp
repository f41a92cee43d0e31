// What an alignment sees of a training step: the student's features, the teacher on request, the samples, the schedule.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/alignment/instantiated.hpp>
#include <sra/alignment/layer.hpp>
#include <sra/autograd/host.hpp>
#include <sra/autograd/var.hpp>
#include <sra/core/error.hpp>
#include <sra/core/schedule.hpp>
#include <sra/diffusion/flow_matching.hpp>

#include <cstddef>
#include <type_traits>
#include <vector>

namespace sra {

/// The teacher's time: t' = clamp(t − U(0, t_max), 0, 1), its own draw for every sample.   SRA, arXiv:2505.02831, §3.2.
struct CloserToData {
  float t_max;
  template <Context C, class W>
  void operator()(C& context, View<W, Shape<dynamic>> out, View<const W, Shape<dynamic>> t, DrawKey key) const {
    times_closer_to_data(context, out, t, key, t_max);
  }
};
/// @param t_max in [0, 1]
inline CloserToData closer_to_data(float t_max) { return {t_max}; }

/// The teacher sees exactly what the student sees.
struct SameTime {
  template <Context C, class W>
  void operator()(C& context, View<W, Shape<dynamic>> out, View<const W, Shape<dynamic>> t, DrawKey) const {
    copy(context, out, t);
  }
};

/// Room for numbers that the host computes in every step and kernels read.
template <class W>
struct ScheduledNumbers {
  static constexpr int most = 8;
  W* host = nullptr;    ///< stays as it is until the step's results are read
  W* device = nullptr;  ///< the same numbers as kernels read them: `host` itself if the host's memory is the backend's
  /// If there is one, the schedules are noted there in the order in which they are met, and somebody else brings their numbers
  /// to the device: the step is captured, to be replayed with other numbers.
  std::vector<Schedule>* met = nullptr;
};

/// One micro-batch of one step, after the student's forward pass.  An alignment is also called to plan memory: then kernels are
/// skipped, addresses are not to be read, and pass.context().planning() is true.
/// @tparam Model the model  @tparam Objective makes noised inputs  @tparam C the student's Recording context
template <class Model, class Objective, Context C, std::size_t N>
class Pass {
 public:
  using model_type = Model;
  using context_type = C;
  using T = typename C::type;
  using W = typename C::wide;
  using Feature = Var<residual_t<C>, typename Model::TokenShape, C>;
  using Image = Var<W, typename Model::ImageShape, C>;
  using Times = View<const W, Shape<dynamic>>;

  /// Everything of a step that is fixed before the model runs.
  struct Inputs {
    Image x;                                    ///< clean images [B, H, W, C]
    Image noise;                                ///< [B, H, W, C]
    Times t;                                    ///< [B]
    typename Model::Condition::View condition;  ///< after dropping, as the student sees it
    typename Model::Condition::View undropped;  ///< as the data has it
    const float* features;  ///< [B, feature_size] in the host's memory, or null: for the alignment, see Pass::features
    index_t feature_size;   ///< numbers of one sample
    DrawKey key;            ///< for kernels
    Times teacher_times;    ///< given by the caller, or empty: drawn
    Progress progress{};    ///< of the run
    ScheduledNumbers<W> scheduled{};  ///< room for scheduled numbers
    W* reported = nullptr;            ///< room for the unweighted alignment loss, on the device
  };

  Pass(C& context, const Model& model, const Objective& objective, ParameterTable<T> teacher, Taps<N> taps,
       Inputs inputs)
      : context_(context), model_(model), objective_(objective), teacher_(teacher), taps_(taps), inputs_(inputs) {}

  C& context() const { return context_; }
  const Inputs& inputs() const { return inputs_; }

  /// Keeps the student's features that were asked for; called after each block.
  void operator()(int i, Feature x) {
    for (std::size_t k = 0; k < N; ++k)
      if (taps_.index[k] == i) kept_[k] = {x.value, x.slot};
  }

  /// The student's residual stream after a layer named by taps().  @return [B, T, D]
  template <LayerLike L>
  Feature student(L layer) const {
    for (std::size_t k = 0; k < N; ++k)
      if (taps_.index[k] == layer.index() && kept_[k].value.data) return {context_, kept_[k].value, kept_[k].slot};
    throw Error(text("alignment: student layer ", layer.index(), " was not named by taps()"));
  }

  /// The EMA teacher's residual stream after a layer, at times of its own: same images, same noise, same dropped condition.
  /// Runs the blocks 1 … layer and no more, without a tape.  @return [B, T, D], a constant
  template <LayerLike L, class Time>
  Feature teacher(L layer, Time time) const {
    using Quiet = Detached<typename C::backend_type, T>;
    Quiet quiet(context_.workspace(), teacher_);
    Feature kept = make<residual_t<C>>(context_, features_shape()).stop_gradient();
    const Arena::Mark before = context_.workspace().activations.mark();
    Times t = inputs_.teacher_times;
    if (!t.data) {
      const auto drawn = quiet.template tensor<W>(inputs_.t.shape);
      time(quiet, drawn, inputs_.t, inputs_.key);
      t = drawn;
    }
    const auto x = constant(quiet, inputs_.x.value), noise = constant(quiet, inputs_.noise.value);
    const auto last = Instantiated<Model, typename C::backend_type, T, Objective>::features(
        model_, objective_, x, noise, t, inputs_.condition, layer.index());  // [B, T, D]
    copy(context_, kept.value, last.value);
    context_.workspace().activations.pop(before);
    return kept;
  }

  /// What the samples carry for the alignment, for instance an encoder's features.  @tparam E extents of one sample's numbers
  /// @return [B, E...], a constant  @throws Error if the samples carry another number of them
  template <index_t... E>
  Var<element_t<C, Shape<dynamic, E...>>, Shape<dynamic, E...>, C> features() const {
    const Shape<dynamic, E...> shape{inputs_.x.batch()};
    const auto y = make<element_t<C, Shape<dynamic, E...>>>(context_, shape).stop_gradient();
    if (!context_.planning() && inputs_.feature_size != shape.sample_size())
      throw Error(
          text("pass.features: expected ", shape.sample_size(), " numbers a sample, got ", inputs_.feature_size));
    copy_in(context_, y.value, dense(inputs_.features, shape));
    return y;
  }

  /// The value of a schedule at this step as a device scalar; a captured step re-reads it.  @return one element
  Var<W, Shape<1>, C> scheduled(const Schedule& schedule) {
    constexpr int most = ScheduledNumbers<W>::most;
    if (scheduled_ == most) throw Error(text("alignment: expected at most ", most, " scheduled numbers, got more"));
    const auto host = dense(inputs_.scheduled.host + scheduled_, Shape<1>{}),
               device = dense(inputs_.scheduled.device + scheduled_, Shape<1>{});
    ++scheduled_;
    *host.data = static_cast<W>(schedule(inputs_.progress));
    if constexpr (!C::backend_type::is_host) {
      if (inputs_.scheduled.met)
        inputs_.scheduled.met->push_back(schedule);
      else
        copy_from_host(context_, device, View<const W, Shape<1>>(host));
    }
    return constant(context_, device);
  }

  /// schedule · loss; the loss itself is what logs show as the alignment.  @param loss one element
  template <Variable L>
  Var<W, Shape<1>, C> weighted(const Schedule& schedule, L loss) {
    static_assert(L::shape::sample_size() == 1 && !L::shape::batched, "pass.weighted: the loss must be one number");
    copy(context_, dense(inputs_.reported, Shape<1>{}), loss.value);
    return fixed(scheduled(schedule)) * loss;
  }

 private:
  struct Kept {
    View<residual_t<C>, typename Model::TokenShape> value{};
    Slot* slot = nullptr;
  };
  typename Model::TokenShape features_shape() const { return {inputs_.x.batch()}; }

  C& context_;
  const Model& model_;
  const Objective& objective_;
  ParameterTable<T> teacher_;
  Taps<N> taps_;
  Inputs inputs_;
  Kept kept_[N == 0 ? 1 : N] = {};
  int scheduled_ = 0;
};

}  // namespace sra
