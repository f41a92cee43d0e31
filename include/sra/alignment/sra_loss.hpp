// Self-Representation Alignment.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/alignment/distance.hpp>
#include <sra/alignment/layer.hpp>
#include <sra/alignment/pass.hpp>
#include <sra/core/error.hpp>
#include <sra/nn/align_head.hpp>

#include <string>

namespace sra {

/// The student layer that suits a depth: the published pairs, else a quarter of the depth.
constexpr int default_student_layer(int depth) {
  return depth == 12 ? 3 : depth == 24 ? 6 : depth == 28 ? 8 : depth < 4 ? 1 : (depth + 2) / 4;
}
/// The teacher layer that suits a depth: the published pairs, else five sevenths of the depth.
constexpr int default_teacher_layer(int depth) {
  return depth == 12 ? 8 : depth == 24 ? 16 : depth == 28 ? 20 : depth < 2 ? 1 : (10 * depth + 7) / 14;
}

/// Self-Representation Alignment: the student's features after block S, through a head, follow the EMA teacher's after block T,
/// seen closer to the data.  SRA, arXiv:2505.02831, equation 6.
/// @tparam S, T `Layer<I>`, checked by the compiler, or `Layer<>` for numbers chosen at run time; 1 <= S <= T <= depth
/// @tparam D the distance: Cosine, TokenCosine, SmoothL1, L1, L2 or one of yours
template <LayerLike S, LayerLike T, Distance D = Cosine>
struct SRALoss {
  S student{};
  T teacher{};
  D distance{};
  float t_max = 0.2f;                     ///< the teacher's time is up to this much closer to the data
  Schedule weight = D::default_weight();  ///< of the distance in the loss

  /// What the alignment owns: a head, stored under the authors' keys.
  template <class Model>
  struct Parameters {
    AlignHead<Model::config.hidden> head;
    static constexpr void visit(auto& self, auto&& f) { f("ap_head", self.head); }
  };

  /// Checks the layers against the model: at compile time if they are static, else by throwing the same sentence.
  template <class Model>
  void check() const {
    constexpr int depth = Model::config.depth;
    if constexpr (S::value != dynamic_layer && T::value != dynamic_layer)
      static_assert(S::value <= T::value,
                    "SRALoss<Student, Teacher>: the student's layer must not lie deeper than the teacher's");
    if constexpr (T::value != dynamic_layer)
      static_assert(T::value <= depth,
                    "SRALoss<Student, Teacher>: the teacher's layer must not lie beyond the model's depth");
    if constexpr (S::value != dynamic_layer)
      static_assert(S::value <= depth,
                    "SRALoss<Student, Teacher>: the student's layer must not lie beyond the model's depth");
    if (student.index() < 1)
      throw Error(text("SRALoss: the student's layer is counted from 1: got student ", student.index()));
    if (student.index() > teacher.index())
      throw Error(text("SRALoss: the student's layer must not lie deeper than the teacher's: got student ",
                       student.index(), ", teacher ", teacher.index()));
    if (teacher.index() > depth)
      throw Error(text("SRALoss: the teacher's layer must not lie beyond the model's depth: got teacher ",
                       teacher.index(), ", depth ", depth));
    if constexpr (requires { distance.check(); }) distance.check();
    if (!(t_max >= 0.0f && t_max <= 1.0f))
      throw Error(text("SRALoss: t_max: expected a number in [0, 1], got ", t_max));
  }

  auto taps() const { return sra::taps(student); }
  /// One line for logs and for the comparison on resume.
  std::string describe() const {
    std::string of = "a distance of the user's";
    if constexpr (requires { distance.describe(); }) of = distance.describe();
    return text("SRALoss student ", student.index(), " teacher ", teacher.index(), " ", of, " t_max ", t_max);
  }
  /// The weighted distance of one micro-batch.  @param pass the step  @param parameters the head  @return one number
  template <class P, class Parameters>
  auto operator()(P& pass, const Parameters& parameters) const {
    const auto target = pass.teacher(teacher, closer_to_data(t_max));    // [B, T, D]
    const auto h = pass.student(student);                                // [B, T, D]
    return pass.weighted(weight, distance(parameters.head(h), target));  // [1]
  }
};

template <LayerLike S, LayerLike T>
SRALoss(S, T) -> SRALoss<S, T>;
template <LayerLike S, LayerLike T, Distance D>
SRALoss(S, T, D) -> SRALoss<S, T, D>;

/// The parameters of an alignment that has none: `template <class Model> using Parameters = NoParameters;`
struct NoParameters {
  static constexpr void visit(auto&, auto&&) {}
};

/// No alignment: plain flow matching.  The EMA is kept, the teacher never runs.
struct NoAlignment {
  template <class Model>
  using Parameters = NoParameters;
  auto taps() const { return sra::taps(); }
  std::string describe() const { return "NoAlignment"; }
};

}  // namespace sra
