// What the student's features are aligned with: the file one came to edit.
// SPDX-License-Identifier: MIT
#include "model.hpp"

struct Alignment {
  sra::Layer<> student{3}, teacher{8};
  float weight = 0.5f, t_max = 0.2f;
  auto taps() const { return sra::taps(student); }  // the student's features that are wanted
  std::string describe() const { return sra::text("cosine ", student.i, " ", teacher.i, " ", weight, " ", t_max); }

  template <class>  // of the model
  struct Parameters {
    sra::AlignHead<config.hidden> head;
    static constexpr void visit(auto& self, auto&& f) { f("head", self.head); }
  };
  auto operator()(auto& pass, const auto& parameters) const {
    const auto target = pass.teacher(teacher, sra::closer_to_data(t_max)), h = parameters.head(pass.student(student));
    return pass.weighted(sra::constant(weight), mean(cosine_features(h, target)));  // both [B, T, D]
  }
};
