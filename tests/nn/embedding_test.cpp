// Tests the embedders of patches, times and conditions.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/cpu/draw.hpp>
#include <sra/diffusion/flow_matching.hpp>
#include <sra/nn/embedding.hpp>

#include <cstdint>
#include <vector>

using namespace sra;
using namespace sra::module_check;

namespace {

constexpr index_t height = 4, columns_of_image = 6, channels = 3, width = 5;
using Patches = PatchEmbed<2, channels, width>;
using Times = TimeEmbed<8, 16>;

constexpr auto apply = [](const auto& module, auto x) { return module(x); };

const auto image = argument<Shape<dynamic, height, columns_of_image, channels>>(2, 1);
const auto time_vector = argument<Shape<dynamic, width>>(3, 2);
const std::vector<std::int32_t> labels{4, 0, 4};
const std::vector<float> vectors{1.0f, -2.0f, 0.0f, 0.5f, 3.0f, 1.0f};

constexpr auto of_labels = [](const auto& embed, auto e) {
  return embed(e, dense(labels.data(), Shape<dynamic>{e.batch()}));
};
constexpr auto of_vectors = [](const auto& embed, auto e) {
  return embed(e, dense(vectors.data(), Shape<dynamic, 2>{e.batch()}));
};
constexpr auto of_nothing = [](const auto& embed, auto e) { return embed(e, Unconditional::View{}); };

/// The condition after dropping with probability p, in a run of its own.
template <class Condition>
std::vector<double> dropped(typename Condition::View condition, DrawKey key, float p) {
  Cpu cpu;
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, float> context(workspace, {});
  return op_check::read(Condition::drop(context, condition, key, p));
}

}  // namespace

BOOST_AUTO_TEST_SUITE(embedding)

BOOST_AUTO_TEST_CASE(modules_have_the_keys_and_shapes_of_pytorch) {
  expect_keys(keys<Patches>(), {"proj.weight [5, 3, 2, 2]", "proj.bias [5]"});
  expect_keys(keys<TimeEmbed<8>>(),
              {"mlp.0.weight [8, 256]", "mlp.0.bias [8]", "mlp.2.weight [8, 8]", "mlp.2.bias [8]"});
  expect_keys(keys<Classes<10>::Embed<8>>(), {"embedding_table.weight [11, 8]"});
  expect_keys(keys<Vector<3>::Embed<8>>(), {"proj.weight [8, 3]", "proj.bias [8]"});
  expect_keys(keys<Unconditional::Embed<8>>(), {});
}

/// Token (r, c), feature d: b_d + Σ_{ch, i, j} W[d, ch, i, j] x[ch, r P + i, c P + j].
BOOST_AUTO_TEST_CASE(patches_are_embedded_by_a_convolution) {
  Rig<Patches, double> rig;
  const Numbers w = rig.values("proj.weight"), b = rig.values("proj.bias");
  Numbers y;
  for (index_t s = 0; s < 2; ++s)
    for (index_t r = 0; r < height / 2; ++r)
      for (index_t c = 0; c < columns_of_image / 2; ++c)
        for (index_t d = 0; d < width; ++d) {
          double sum = b[static_cast<std::size_t>(d)];
          for (index_t ch = 0; ch < channels; ++ch)
            for (index_t i = 0; i < 2; ++i)
              for (index_t j = 0; j < 2; ++j)
                sum += w[static_cast<std::size_t>(((d * channels + ch) * 2 + i) * 2 + j)] *
                       image.values[static_cast<std::size_t>(
                           ((s * height + 2 * r + i) * columns_of_image + 2 * c + j) * channels + ch)];
          y.push_back(sum);
        }
  expect_close("patches", rig.value(apply, image), y, Accuracy{.terms = 12, .floor = 1}.allowed<double>(y));
  matches_finite_differences<Patches>(apply, image);
}

BOOST_AUTO_TEST_CASE(times_go_through_two_layers_around_silu) {
  static const std::vector<double> t{0.0, 0.3, 1.0};
  const auto embed = [](const Times& times, auto anchor) {
    return times(anchor.context(), dense(t.data(), Shape<dynamic>{3}));
  };
  Rig<Times, double> rig;
  Numbers features;
  for (const double time : t)
    for (const bool sine : {false, true})
      for (int k = 0; k < 8; ++k) {
        const double angle = time * std::pow(10000.0, -k / 8.0);
        features.push_back(sine ? std::sin(angle) : std::cos(angle));
      }
  const Numbers y = linear(rig, "mlp.2", silu(linear(rig, "mlp.0", features)));
  // The frequencies are floats, of exponents that are floats: 10 ε of them each.
  expect_close("times", rig.value(embed, time_vector), y,
               Accuracy{.terms = 16, .factor = 10, .floor = 1}.allowed<float>(y));
}

BOOST_AUTO_TEST_CASE(conditions_are_added_to_the_time) {
  Rig<Classes<4>::Embed<width>, double> classes;
  const Numbers table = classes.values("embedding_table.weight");
  Numbers expected = time_vector.values;
  for (std::size_t i = 0; i < expected.size(); ++i)
    expected[i] += table[static_cast<std::size_t>(labels[i / width]) * width + i % width];
  expect_close("classes", classes.value(of_labels, time_vector), expected, 1e-15);

  Rig<Vector<2>::Embed<width>, double> vector;
  const Numbers y = linear(vector, "proj", Numbers(vectors.begin(), vectors.end()));
  expected = time_vector.values;
  for (std::size_t i = 0; i < expected.size(); ++i) expected[i] += y[i];
  expect_close("vectors", vector.value(of_vectors, time_vector), expected, 1e-15 * 8);

  Rig<Unconditional::Embed<width>, double> nothing;
  BOOST_TEST((nothing.value(of_nothing, time_vector) == time_vector.values));
}

BOOST_AUTO_TEST_CASE(gradients_match_finite_differences) {
  matches_finite_differences<Classes<4>::Embed<width>>(of_labels, time_vector);
  matches_finite_differences<Vector<2>::Embed<width>>(of_vectors, time_vector);
  matches_finite_differences<Unconditional::Embed<width>>(of_nothing, time_vector);
}

/// 2,000 labels at p = 0.1: 200 expected, deviation 13.4; five deviations are allowed.
BOOST_AUTO_TEST_CASE(labels_are_dropped_by_their_own_draws) {
  const std::vector<std::int32_t> many(2000, 3);
  const auto all = dense(many.data(), Shape<dynamic>{2000});
  const DrawKey key{.seed = 5, .step = 7};
  const auto kept = dropped<Classes<4>>(all, key, 0.1f);
  double nulls = 0;
  for (const double label : kept) {
    BOOST_TEST_REQUIRE((label == 3 || label == 4));
    nulls += label == 4;
  }
  BOOST_TEST(std::abs(nulls - 200) <= 67);
  const auto tail =
      dropped<Classes<4>>(dense(many.data(), Shape<dynamic>{1000}), {.seed = 5, .step = 7, .first_sample = 1000}, 0.1f);
  BOOST_TEST((Numbers(kept.begin() + 1000, kept.end()) == tail));
  BOOST_TEST((dropped<Classes<4>>(all, {.seed = 5, .step = 8}, 0.1f) != kept));
  BOOST_TEST((dropped<Classes<4>>(all, {.seed = 6, .step = 7}, 0.1f) != kept));
  for (const double label : dropped<Classes<4>>(all, key, 0.0f)) BOOST_TEST_REQUIRE(label == 3);
  for (const double label : dropped<Classes<4>>(all, key, 1.0f)) BOOST_TEST_REQUIRE(label == 4);
}

BOOST_AUTO_TEST_CASE(a_dropped_vector_is_zero_as_a_whole) {
  const std::vector<float> many(2 * 500, 1.5f);
  const auto kept = dropped<Vector<2>>(dense(many.data(), Shape<dynamic, 2>{500}), {.seed = 1}, 0.5f);
  int zeros = 0;
  for (std::size_t b = 0; b < 500; ++b) {
    BOOST_TEST_REQUIRE(kept[2 * b] == kept[2 * b + 1]);
    BOOST_TEST_REQUIRE((kept[2 * b] == 0 || kept[2 * b] == 1.5));
    zeros += kept[2 * b] == 0;
  }
  BOOST_TEST(std::abs(zeros - 250) <= 56);  // five deviations of √(500 / 4)
}

BOOST_AUTO_TEST_CASE(guidance_appends_the_null_condition) {
  Cpu cpu;
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, float> context(workspace, {});
  const auto both = Classes<4>::with_null(context, dense(labels.data(), Shape<dynamic>{3}));
  BOOST_TEST((op_check::read(both) == Numbers{4, 0, 4, 4, 4, 4}));
  const auto vector = Vector<2>::with_null(context, dense(vectors.data(), Shape<dynamic, 2>{3}));
  BOOST_TEST((op_check::read(vector) == Numbers{1, -2, 0, 0.5, 3, 1, 0, 0, 0, 0, 0, 0}));
}

BOOST_AUTO_TEST_CASE(a_label_out_of_range_is_named) {
  const std::vector<std::int32_t> wrong{0, 4, 5}, right{0, 4, 1};
  const auto complaint = [](const auto& list) { return Classes<4>::complaint(dense(list.data(), Shape<dynamic>{3})); };
  BOOST_TEST(complaint(wrong) == "sample 2: expected a label in [0, 4) or the null class 4, got 5");
  BOOST_TEST(complaint(right) == "");
}

BOOST_AUTO_TEST_SUITE_END()
