// Tests an alignment of a user's that looks at no teacher: features that the samples carry.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE repa
#define BOOST_TEST_DYN_LINK
#include "training.hpp"

namespace lab {

/// Features after block 1, through a head, follow an encoder's, which the samples carry.  REPA, arXiv:2410.06940.
struct Repa {
  sra::Layer<1> layer{};

  template <class Model>
  struct Parameters {
    sra::Linear<Model::config.hidden, 24> in;
    sra::Linear<24, encoder_width> out;
    static constexpr void visit(auto& self, auto&& f) { f("repa.0", self.in), f("repa.2", self.out); }
  };
  auto taps() const { return sra::taps(layer); }

  auto operator()(auto& pass, const auto& parameters) const {
    const auto target = pass.template features<8, encoder_width>();              // [B, T, K]
    const auto h = parameters.out(silu(parameters.in(pass.student(layer))));     // [B, T, K]
    return pass.weighted(sra::constant(0.5), mean(cosine_features(h, target)));  // [1]
  }
};

}  // namespace lab

BOOST_AUTO_TEST_SUITE(repa)

BOOST_AUTO_TEST_CASE(trains_three_steps_on_features_of_the_samples) {
  using Model = sra::SiT<lab::config, sra::Classes<3>>;
  sra::Trainer<Model, lab::Repa> trainer{{.batch = 6, .accumulate = 2, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "repa.");
}

/// The same step by hand: the loss is that of the features of the batch.
BOOST_AUTO_TEST_CASE(the_features_of_the_batch_are_what_is_followed) {
  using Model = sra::SiT<lab::config, sra::Classes<3>>;
  sra::Trainer<Model, lab::Repa> trainer{{.batch = 2, .threads = 1, .quiet = true}};
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
