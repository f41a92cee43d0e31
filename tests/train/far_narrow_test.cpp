// Trains and samples with the choices of a GPU: a residual stream in bf16 and samplers in float follow the CPU up to rounding.
// SPDX-License-Identifier: MIT
#include "far_runs.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>

using namespace sra;
using namespace sra::test;
using far::Narrow;

namespace {

using Model = Carried<bf16>;

/// 20 roundings a block to 8 digits, as in bf16_test, and 6 more of the stream itself.
const double allowed = std::sqrt(26.0 * Tiny::config.depth) * 0x1p-9;

std::vector<float> gradients(const auto& trainer) {
  std::vector<float> all;
  for (const ParamInfo& p : trainer.engine().store().parameters())
    for (const float g : trainer.gradient_values(p.name)) all.push_back(p.kind == ParamKind::trained ? g : 0.0f);
  return all;
}
std::vector<float> floats(const auto& view) { return {view.data, view.data + view.span()}; }

}  // namespace

BOOST_AUTO_TEST_SUITE(far_narrow)

BOOST_AUTO_TEST_CASE(the_residual_stream_is_of_the_type_that_the_backend_says) {
  BOOST_TEST((std::is_same_v<residual_t<Recording<Narrow, bf16>>, bf16>));
  BOOST_TEST((std::is_same_v<residual_t<Recording<Narrow, float>>, float>));
  BOOST_TEST((std::is_same_v<residual_t<Recording<Cpu, bf16>>, float>));
}

BOOST_AUTO_TEST_CASE(steps_and_samples_follow_the_cpu) {
  Run<Cpu, bf16> near(options<Cpu, bf16>());
  Run<Narrow, bf16> narrow(options<Narrow, bf16>());
  move_all(near);
  move_all(narrow);
  const Given given;
  const auto a = near.losses(given.batch<Model>(near.backend())),
             b = narrow.losses(given.batch<Model>(narrow.backend()));
  BOOST_TEST(std::abs(b.denoising / a.denoising - 1) <= allowed);
  BOOST_TEST(std::abs(b.alignment / a.alignment - 1) <= allowed);
  const double apart = distance(gradients(near), gradients(narrow));
  BOOST_TEST(apart <= allowed);
  BOOST_TEST(apart > 0);
  const SamplerOptions o{.steps = 4, .guidance = 2};
  const auto x = floats(near.sampler().sample(given.condition<Model>(near.backend()), o)),
             y = floats(narrow.sampler().sample(given.condition<Model>(narrow.backend()), o));
  BOOST_TEST_MESSAGE("of the allowed: gradients " << apart / allowed << ", samples " << distance(x, y) / allowed);
  BOOST_TEST(distance(x, y) <= allowed);
  narrow.step(given.batch<Model>(narrow.backend()));
  BOOST_TEST(narrow.step_number() == 1);
}

BOOST_AUTO_TEST_SUITE_END()
