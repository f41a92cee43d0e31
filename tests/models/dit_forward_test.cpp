// Tests what models compute: fresh ones, every condition, inputs of any shape, gradients of all weights.
// SPDX-License-Identifier: MIT
#include "tiny_models.hpp"

#include <cmath>
#include <cstdint>
#include <vector>

using namespace sra;
using namespace sra::module_check;
using namespace sra::tiny_models;

namespace {

/// All weights random: results are finite, and every trained weight has a gradient that is not zero.
template <class Model>
void trains() {
  Rig<Model, float> rig;
  const Outcome out = rig.run(forward, images<Model>());
  constexpr DiTConfig c = Model::config;
  BOOST_TEST(out.y.size() == static_cast<std::size_t>(3 * c.height * c.width * c.out_channels()));
  for (const double y : out.y) BOOST_TEST_REQUIRE(std::isfinite(y));
  std::size_t first = 0;
  for (const ParamInfo& p : rig.list()) {
    bool any = false;
    for (std::size_t i = 0; i < static_cast<std::size_t>(p.size); ++i) {
      const double g = out.gradients.back()[first + i];
      BOOST_TEST_REQUIRE(std::isfinite(g), p.name);
      any = any || g != 0;
    }
    BOOST_TEST(any == (p.kind == ParamKind::trained), p.name);
    first += static_cast<std::size_t>(p.size);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(dit_forward)

BOOST_AUTO_TEST_CASE(every_condition_trains_and_inputs_may_have_any_shape) {
  trains<Grey>();
  trains<Rgb>();
  trains<Sigma>();
}

BOOST_AUTO_TEST_CASE(shapes_are_those_of_the_input_and_sigma_doubles_the_channels) {
  using C = Detached<Cpu, float>;
  using Out = decltype(std::declval<const Sigma&>()(std::declval<Var<float, Sigma::ImageShape, C>>(), times<float>(),
                                                    Unconditional::View{}));
  static_assert(std::is_same_v<Out::shape, Shape<dynamic, 4, 2, 10>>);
  using Same = decltype(std::declval<const Rgb&>()(std::declval<Var<float, Rgb::ImageShape, C>>(), times<float>(),
                                                   conditions<Vector<2>>()));
  static_assert(std::is_same_v<Same::shape, Shape<dynamic, 4, 8, 3>>);
}

BOOST_AUTO_TEST_CASE(a_fresh_model_is_zero_and_its_blocks_are_the_identity) {
  Rig<Grey, float> rig;
  rig.store().initialise(1);
  std::vector<std::vector<double>> streams;
  std::vector<int> layers;
  const auto watched = [&](const Grey& model, auto x) {
    streams.push_back(op_check::read(model.embed(x).value));
    return model(x, times<float>(), conditions<Classes<3>>(), [&](int i, const auto& tokens) {
      layers.push_back(i);
      streams.push_back(op_check::read(tokens.value));
    });
  };
  for (const double y : rig.value(watched, images<Grey>())) BOOST_TEST_REQUIRE(y == 0);
  BOOST_TEST((layers == std::vector<int>{1, 2}));
  BOOST_TEST_REQUIRE(streams.size() == 3u);
  BOOST_TEST((streams[1] == streams[0]));
  BOOST_TEST((streams[2] == streams[0]));
}

/// Each sample sees its own time and its own condition.
BOOST_AUTO_TEST_CASE(samples_do_not_see_each_other) {
  Rig<Grey, float> rig;
  const auto all = rig.value(forward, images<Grey>());
  auto moved = images<Grey>();
  for (std::size_t i = 0; i < 128; ++i) moved.values[i] += 1;
  const auto other = rig.value(forward, moved);
  for (std::size_t i = 0; i < 3 * 128; ++i) BOOST_TEST_REQUIRE((all[i] == other[i]) == (i >= 128));
}

BOOST_AUTO_TEST_CASE(time_and_condition_reach_the_result) {
  Rig<Grey, float> rig;
  const auto with = [](float t, std::int32_t label) {
    return [=](const Grey& model, auto x) {
      static std::vector<float> ts;
      static std::vector<std::int32_t> ys;
      ts.assign(3, t);
      ys.assign(3, label);
      return model(x, dense(std::as_const(ts).data(), Shape<dynamic>{3}),
                   dense(std::as_const(ys).data(), Shape<dynamic>{3}));
    };
  };
  const auto x = images<Grey>();
  const auto base = rig.value(with(0.5f, 1), x);
  BOOST_TEST((rig.value(with(0.5f, 1), x) == base));
  BOOST_TEST((rig.value(with(0.6f, 1), x) != base));
  BOOST_TEST((rig.value(with(0.5f, 2), x) != base));
  BOOST_TEST((rig.value(with(0.5f, Classes<3>::null_class), x) != base));
}

BOOST_AUTO_TEST_SUITE_END()
