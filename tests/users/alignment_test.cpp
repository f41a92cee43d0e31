// Tests alignments of a user's: between relations of tokens, on the clean image, on features that the samples carry.
// SPDX-License-Identifier: MIT
#include "../../examples/05_distance.hpp"
#include "../../examples/06_alignment.hpp"
#include "training.hpp"

namespace lab {

/// Without parameters of its own: the student's relations follow the teacher's.
struct Relations {
  sra::Layer<1> student{};
  sra::Layer<2> teacher{};

  template <class Model>
  using Parameters = sra::NoParameters;
  auto taps() const { return sra::taps(student); }

  auto operator()(auto& pass, const auto&) const {
    return pass.weighted(sra::constant(0.3),
                         Gram{}(pass.student(student), pass.teacher(teacher, sra::closer_to_data(0.2f))));
  }
};

/// Features after a layer, through a linear head, follow the clean latent, cut into patches.  SRA 2.
struct CleanLatent {
  sra::Layer<> layer{1};
  sra::SmoothL1 distance{};

  template <class Model>
  struct Parameters {
    sra::Linear<Model::config.hidden, Model::config.patch * Model::config.patch * Model::config.channels> head;
    static constexpr void visit(auto& self, auto&& f) { f("latent_head", self.head); }
  };
  auto taps() const { return sra::taps(layer); }

  template <class Pass>
  auto operator()(Pass& pass, const auto& parameters) const {
    constexpr int patch = Pass::model_type::config.patch;
    const auto target = sra::patchify<patch, sra::PatchOrder::channels_last>(pass.inputs().x);  // [B, T, P P C]
    return pass.weighted(sra::constant(0.2), distance(parameters.head(pass.student(layer)), target));
  }
};

}  // namespace lab

namespace {

using Model = sra::SiT<lab::config, sra::Classes<3>>;
using Repa = lab::Repa<sra::Layer<1>, lab::encoder_width, 24>;

}  // namespace

BOOST_AUTO_TEST_SUITE(alignment)

BOOST_AUTO_TEST_CASE(relations_train_three_steps) {
  sra::Trainer<Model, lab::Relations> trainer{{.batch = 6, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "x_embedder.");
}

BOOST_AUTO_TEST_CASE(the_clean_latent_trains_three_steps) {
  sra::Trainer<Model, lab::CleanLatent> trainer{
      {.batch = 6, .align = {sra::Layer{2}, {0.1f}}, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "latent_head.");
}

BOOST_AUTO_TEST_CASE(features_of_the_samples_train_three_steps) {
  sra::Trainer<Model, Repa> trainer{{.batch = 6, .accumulate = 2, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "repa.");
}

/// The same step by hand: the loss is that of the features of the batch.
BOOST_AUTO_TEST_CASE(the_features_of_the_batch_are_what_is_followed) {
  sra::Trainer<Model, Repa> trainer{{.batch = 2, .threads = 1, .quiet = true}};
  const std::vector<float> images(2 * 32, 0.5f);
  const std::vector<std::int32_t> labels{0, 1};
  std::vector<float> features(2 * 8 * lab::encoder_width);
  for (std::size_t i = 0; i < features.size(); ++i) features[i] = static_cast<float>(i % 7) - 2.5f;
  const auto alignment = [&] {
    return trainer
        .losses({dense(images.data(), Model::ImageShape{2}), dense(labels.data(), sra::Shape<sra::dynamic>{2}),
                 features.data(), 8 * lab::encoder_width})
        .alignment;
  };
  const double one = alignment();
  for (float& f : features) f = -f;
  // 1 − cos of the opposite direction; each cosine is rounded to a float.
  BOOST_TEST(std::abs(one + alignment() - 2) <= 8 * 0x1p-23);
  features.resize(10);
  BOOST_CHECK_EXCEPTION(trainer.losses({dense(images.data(), Model::ImageShape{2}),
                                        dense(labels.data(), sra::Shape<sra::dynamic>{2}), features.data(), 5}),
                        sra::Error, [](const sra::Error& e) {
                          return std::string(e.what()) == "pass.features: expected 40 numbers a sample, got 5";
                        });
}

BOOST_AUTO_TEST_SUITE_END()
