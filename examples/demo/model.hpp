// What the demo trains: the model, the alignment, and how pictures are held.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

#include <cstdint>
#include <vector>

namespace demo {

using sra::dynamic, sra::index_t, sra::Shape;

inline constexpr int side = 16;
inline constexpr sra::DiTConfig config{
    .height = side, .width = side, .channels = 3, .patch = 2, .hidden = 64, .depth = 4, .heads = 4};
using Model = sra::SiT<config, sra::Classes<10>>;
using Data = sra::Shapes<side>;
/// As large as fits: what a model learns in minutes.
inline constexpr Data data{.smallest = 0.38f, .largest = 0.43f};

inline constexpr int student_block = 1, teacher_block = 3;
/// The student's block 1 learns to say what the teacher's block 3 says.
using Align = sra::SRALoss<sra::Layer<student_block>, sra::Layer<teacher_block>>;

/// The alignment's weight in the loss at the beginning; half a cosine later it is zero.
inline constexpr double alignment_weight = 0.5;

inline constexpr index_t picture_size = Data::Sample::size;

/// Pictures [N, side, side, 3] in [-1, 1] and their labels [N].
struct Pictures {
  std::vector<float> values;
  std::vector<std::int32_t> labels;

  index_t count() const { return std::ssize(labels); }
  sra::View<const float, Model::ImageShape> images() const {
    return sra::dense(values.data(), Model::ImageShape{count()});
  }
  sra::View<const std::int32_t, Shape<dynamic>> classes() const {
    return sra::dense(labels.data(), Shape<dynamic>{count()});
  }
};

}  // namespace demo
