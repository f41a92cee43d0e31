// Tests parameters: names, offsets, kinds, counts, and how contexts see them.
// SPDX-License-Identifier: MIT
#include "module_check.hpp"

#include <sra/nn/param.hpp>

#include <array>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::module_check;

namespace {

struct Inner {
  Param<3, 5> weight;
  Param<5> bias;
  static constexpr void visit(auto& self, auto&& f) {
    f("weight", self.weight);
    f("bias", self.bias);
  }
};

struct Outer {
  Param<1, 7> table{.kind = ParamKind::constant};
  std::array<Inner, 2> layers;
  Param<64> last;
  static constexpr void visit(auto& self, auto&& f) {
    f("table", self.table);
    f("layers", self.layers);
    f("last", self.last);
  }
};

/// What an alignment owns, with a rule of its own for initial values.
struct Gain {
  Param<3> gain;
  static constexpr void visit(auto& self, auto&& f) { f("gain", self.gain); }
  void initialise(const auto& values, std::string_view name, std::uint64_t seed) const {
    values.fill(gain, init::Constant{name.empty() ? static_cast<double>(seed) : 0});
  }
};

struct Nothing {
  static constexpr void visit(auto&, auto&&) {}
};

}  // namespace

BOOST_AUTO_TEST_SUITE(param)

BOOST_AUTO_TEST_CASE(names_are_the_path_and_the_number_in_an_array) {
  expect_keys(keys<Outer>(), {"table [1, 7]", "layers.0.weight [3, 5]", "layers.0.bias [5]", "layers.1.weight [3, 5]",
                              "layers.1.bias [5]", "last [64]"});
}

BOOST_AUTO_TEST_CASE(every_parameter_begins_at_the_next_multiple_of_64) {
  Outer module;
  BOOST_TEST(place(module) == 6 * 64);
  std::vector<index_t> offsets, ordinals;
  for_each_param(module, [&](const std::string&, const auto& p) {
    offsets.push_back(p.offset);
    ordinals.push_back(p.ordinal);
  });
  BOOST_TEST(offsets == (std::vector<index_t>{0, 64, 128, 192, 256, 320}), boost::test_tools::per_element());
  BOOST_TEST(ordinals == (std::vector<index_t>{0, 1, 2, 3, 4, 5}), boost::test_tools::per_element());
  BOOST_TEST(place(module, 128, 3) == 128 + 6 * 64);
  BOOST_TEST(module.table.offset == 128);
  BOOST_TEST(module.last.ordinal == 8);
}

BOOST_AUTO_TEST_CASE(counts_leave_out_the_padding) {
  static_assert(parameter_count<Outer>() == 7 + 2 * (15 + 5) + 64);
  static_assert(parameter_count<Nothing>() == 0);
  BOOST_TEST(keys<Nothing>().empty());
}

BOOST_AUTO_TEST_CASE(operands_lie_where_the_parameter_does) {
  Rig<Outer, float> rig;
  Recording<Cpu, float> context(rig.workspace(), rig.store().student());
  const Inner& layer = rig.module().layers[1];
  const auto w = weight(context, layer.weight);
  BOOST_TEST(w.value.data == rig.store().master() + layer.weight.offset);
  BOOST_TEST(w.gradient == rig.store().gradient() + layer.weight.offset);
  const auto b = leaf(context, layer.bias);
  BOOST_TEST(b.value.data == rig.store().master() + layer.bias.offset);
  const auto db = b.grad();
  BOOST_TEST(db.to.data == rig.store().gradient() + layer.bias.offset);
  BOOST_TEST((db.mode == GradMode::overwrite));
  BOOST_TEST((leaf(context, layer.bias).grad().mode == GradMode::accumulate), "one state for all uses in a step");
}

BOOST_AUTO_TEST_CASE(a_convolution_is_a_matrix_of_its_outputs) {
  Rig<Outer, float> rig;
  Recording<Cpu, float> context(rig.workspace(), rig.store().student());
  const Param<6, 3, 2, 2> kernel{};
  static_assert(std::is_same_v<decltype(weight(context, kernel))::shape, Shape<6, 12>>);
}

BOOST_AUTO_TEST_CASE(constants_and_frozen_parameters_take_no_gradient) {
  Rig<Outer, float> rig;
  Recording<Cpu, float> context(rig.workspace(), rig.store().student());
  BOOST_TEST(leaf(context, rig.module().table).slot == nullptr);
  BOOST_TEST(!weight(context, rig.module().table).grad());
  auto& states = rig.store().states();
  states[1] = states[2] = frozen;
  BOOST_TEST(!weight(context, rig.module().layers[0].weight).grad());
  BOOST_TEST(!leaf(context, rig.module().layers[0].bias).grad());
  BOOST_TEST(states[1] == frozen);
  Detached<Cpu, float> quiet(rig.workspace(), rig.store().live());
  BOOST_TEST(!leaf(quiet, rig.module().last).grad());
  BOOST_TEST(!weight(quiet, rig.module().layers[1].weight).grad());
}

BOOST_AUTO_TEST_CASE(what_an_alignment_owns_has_its_own_initial_values) {
  Rig<Trained<Outer, Gain>, float> rig;
  rig.store().initialise(7);
  BOOST_TEST((rig.values("gain") == Numbers{7, 7, 7}));
}

BOOST_AUTO_TEST_SUITE_END()
