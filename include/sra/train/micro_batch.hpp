// What a step is given: a micro-batch in the host's memory, and random numbers that are not to be drawn.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/error.hpp>
#include <sra/core/view.hpp>
#include <sra/data/batch.hpp>

namespace sra {

/// A micro-batch in memory of the host, without gaps; the step brings it to the backend's.
template <class Model>
struct MicroBatch {
  View<const float, typename Model::ImageShape> images;  ///< [B, H, W, C]
  typename Model::Condition::View condition;             ///< labels [B], vectors [B, K], or nothing
  const float* features = nullptr;                       ///< [B, feature_size] for the alignment, or none
  index_t feature_size = 0;                              ///< numbers of one sample
};

/// A batch of a data set as the model takes it; the batch must outlive it.
template <class Model, class Sample>
MicroBatch<Model> micro_batch(const Batch<Sample>& batch) {
  MicroBatch<Model> micro{batch.images(), {}};
  if constexpr (requires { Model::Condition::null_class; })
    micro.condition = dense(batch.labels().data(), Shape<dynamic>{batch.size()});
  else if constexpr (Model::Condition::count > 0)
    micro.condition = dense(batch.conditions().data(), Shape<dynamic, Model::Condition::count>{batch.size()});
  micro.features = batch.features().data();
  micro.feature_size = feature_size<Sample>;
  return micro;
}

/// Random numbers of a micro-batch that a caller gives instead of having them drawn, in memory of the host without gaps; what is
/// empty is drawn.  For tests against other implementations, and for paired comparisons.
template <class Model, class W>
struct Draws {
  View<const W, Shape<dynamic>> times{};                  ///< [B] in [0, 1]
  View<const W, Shape<dynamic>> teacher_times{};          ///< [B] in [0, 1]
  View<const float, typename Model::ImageShape> noise{};  ///< [B, H, W, C]
  bool condition_is_dropped = false;                      ///< the condition already is as the student sees it
};

/// Checks sizes and labels of a micro-batch.
/// @param step finished updates  @param first number of the micro-batch's first sample in the step
/// @param may_be_null whether labels may be the null class
/// @throws Error naming step and sample
template <class Model>
void check_batch(const MicroBatch<Model>& batch, index_t step, index_t first, bool may_be_null) {
  if (batch.images.shape.batch < 1)
    throw Error(text("Trainer: expected a batch of at least 1 sample, got ", batch.images.shape.batch));
  if constexpr (Model::Condition::count > 0)
    if (batch.condition.shape.batch != batch.images.shape.batch)
      throw Error(text("Trainer: expected a condition for each of ", batch.images.shape.batch, " samples, got ",
                       batch.condition.shape.batch));
  if constexpr (requires { Model::Condition::null_class; }) {
    constexpr index_t n = Model::Condition::null_class;
    for (index_t b = 0; b < batch.condition.shape.batch; ++b)
      if (const index_t label = batch.condition.data[b]; label < 0 || label > n || (label == n && !may_be_null))
        throw Error(
            text("Trainer: step ", step, ", sample ", first + b, ": expected a label in [0, ", n, "), got ", label));
  }
}

}  // namespace sra
