// Tests an alignment of a user's between relations of tokens, without parameters of its own.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE gram
#define BOOST_TEST_DYN_LINK
#include "training.hpp"

namespace lab {

/// The cosines between all pairs of tokens follow those of the teacher's tokens, which need not be as wide.
struct Gram {
  sra::Layer<1> student{};
  sra::Layer<2> teacher{};

  template <class Model>
  using Parameters = sra::NoParameters;
  auto taps() const { return sra::taps(student); }

  auto operator()(auto& pass, const auto&) const {
    const auto a = normalize(pass.student(student));                             // [B, T, D]
    const auto b = normalize(pass.teacher(teacher, sra::closer_to_data(0.2f)));  // [B, T, D]
    return pass.weighted(sra::constant(0.3), mean(square(matmul_nt(a, a) - matmul_nt(b, b))));
  }
};

}  // namespace lab

BOOST_AUTO_TEST_SUITE(gram)

BOOST_AUTO_TEST_CASE(trains_three_steps) {
  using Model = sra::SiT<lab::config, sra::Classes<3>>;
  sra::Trainer<Model, lab::Gram> trainer{{.batch = 6, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "x_embedder.");
}

BOOST_AUTO_TEST_SUITE_END()
