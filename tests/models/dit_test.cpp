// Tests a model's parameters: keys, shapes, counts, initial values, position embedding, description.
// SPDX-License-Identifier: MIT
#include "../nn/module_check.hpp"

#include <sra/alignment/sra_loss.hpp>
#include <sra/io/safetensors.hpp>
#include <sra/models/dit.hpp>

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::module_check;

namespace {

constexpr DiTConfig tiny{.height = 8, .width = 16, .channels = 3, .patch = 2, .hidden = 32, .depth = 2, .heads = 2};
constexpr DiTConfig deeper{.height = 8, .width = 16, .channels = 3, .patch = 2, .hidden = 32, .depth = 3, .heads = 2};
using Model = SiT<tiny, Classes<4>>;

/// With the head, as the authors store it.
template <class M>
using WithHead = Trained<M, SRALoss<Layer<1>, Layer<1>>::Parameters<M>>;

bool ends(const std::string& name, const std::string& end) {
  return name.size() >= end.size() && name.compare(name.size() - end.size(), end.size(), end) == 0;
}

/// A golden folder's weights have the model's keys and shapes; apart from the head, in the model's order.
template <class M>
void expect_keys_of(const std::filesystem::path& folder) {
  const SafeTensors file(folder / "weights.safetensors");
  for (const std::string prefix : {"model.", "ema."}) {
    std::vector<std::string> stored, head, expected, expected_head;
    for (const TensorInfo& info : file.tensors()) {
      if (info.name.compare(0, prefix.size(), prefix) != 0) continue;
      std::string line = info.name.substr(prefix.size()) + " [";
      for (std::size_t i = 0; i < info.shape.size(); ++i) line += text(i ? ", " : "", info.shape[i]);
      (line.compare(0, 8, "ap_head.") == 0 ? head : stored).push_back(line + "]");
    }
    for (const std::string& line : keys<WithHead<M>>())
      (line.compare(0, 8, "ap_head.") == 0 ? expected_head : expected).push_back(line);
    expect_keys(expected, stored);
    expect_keys(expected_head, head);
  }
}

template <DiTConfig C>
double position(int token, int channel) {
  static const std::vector<double> all = detail::position_embedding<C, double>();
  return all[static_cast<std::size_t>(token * C.hidden + channel)];
}

void expect_published(double x, double published, double unit) { BOOST_TEST(std::abs(x - published) <= unit, x); }

}  // namespace

BOOST_AUTO_TEST_SUITE(dit)

BOOST_AUTO_TEST_CASE(has_the_keys_of_pytorch_in_its_order) {
  using Small = SiT<DiTConfig{.height = 4, .width = 4, .channels = 3, .patch = 2, .hidden = 8, .depth = 1, .heads = 2},
                    Classes<10>>;
  expect_keys(keys<Small>(), {"pos_embed [1, 4, 8]",
                              "x_embedder.proj.weight [8, 3, 2, 2]",
                              "x_embedder.proj.bias [8]",
                              "t_embedder.mlp.0.weight [8, 256]",
                              "t_embedder.mlp.0.bias [8]",
                              "t_embedder.mlp.2.weight [8, 8]",
                              "t_embedder.mlp.2.bias [8]",
                              "y_embedder.embedding_table.weight [11, 8]",
                              "blocks.0.attn.qkv.weight [24, 8]",
                              "blocks.0.attn.qkv.bias [24]",
                              "blocks.0.attn.proj.weight [8, 8]",
                              "blocks.0.attn.proj.bias [8]",
                              "blocks.0.mlp.fc1.weight [32, 8]",
                              "blocks.0.mlp.fc1.bias [32]",
                              "blocks.0.mlp.fc2.weight [8, 32]",
                              "blocks.0.mlp.fc2.bias [8]",
                              "blocks.0.adaLN_modulation.1.weight [48, 8]",
                              "blocks.0.adaLN_modulation.1.bias [48]",
                              "final_layer.linear.weight [12, 8]",
                              "final_layer.linear.bias [12]",
                              "final_layer.adaLN_modulation.1.weight [16, 8]",
                              "final_layer.adaLN_modulation.1.bias [16]"});
}

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_the_committed_weights) {
  constexpr DiTConfig c{
      .height = 12, .width = 12, .channels = 3, .patch = 4, .hidden = 48, .depth = 3, .heads = 3, .qk_norm = true};
  expect_keys_of<SiT<c, Classes<5>>>(std::filesystem::path(SRA_SOURCE_DIR) / "tests/parity/golden/sit_qknorm");
}

BOOST_AUTO_TEST_CASE(has_the_keys_and_shapes_of_the_shared_weights,
                     *boost::unit_test::precondition([](boost::unit_test::test_unit_id) {
                       return boost::test_tools::assertion_result(std::filesystem::exists(SRA_SHARED_DIR "/golden"));
                     })) {
  constexpr DiTConfig c{.height = 8, .width = 8, .channels = 4, .patch = 2, .hidden = 64, .depth = 4, .heads = 4};
  constexpr DiTConfig sigma{
      .height = 8, .width = 8, .channels = 4, .patch = 2, .hidden = 64, .depth = 4, .heads = 4, .learn_sigma = true};
  const std::filesystem::path golden = SRA_SHARED_DIR "/golden";
  expect_keys_of<SiT<c, Classes<10>>>(golden / "sit_tiny");
  expect_keys_of<SiT<sigma, Classes<10>>>(golden / "dit_tiny");
}

BOOST_AUTO_TEST_CASE(counts_are_the_published_ones) {
  static_assert(parameter_count<WithHead<SiT<sit_s_2>>>() == 33'548'176);
  static_assert(parameter_count<WithHead<SiT<sit_b_2>>>() == 132'861'712);
  static_assert(parameter_count<WithHead<SiT<sit_l_2>>>() == 462'283'792);
  static_assert(parameter_count<WithHead<SiT<sit_xl_2>>>() == 680'423'056);
  static_assert(parameter_count<AlignHead<384>>() == 590'976 && parameter_count<AlignHead<768>>() == 2'361'600);
  static_assert(parameter_count<AlignHead<1024>>() == 4'197'376 && parameter_count<AlignHead<1152>>() == 5'311'872);
  constexpr auto at_512 = [](DiTConfig c) {
    c.height = c.width = 64;
    return c;
  };
  constexpr auto with_sigma = [](DiTConfig c) {
    c.learn_sigma = true;
    return c;
  };
  static_assert(parameter_count<WithHead<SiT<at_512(sit_xl_2)>>>() == 681'307'792);
  static_assert(parameter_count<WithHead<SiT<with_sigma(sit_s_2)>>>() == 33'554'336);
  static_assert(parameter_count<WithHead<SiT<with_sigma(sit_b_2)>>>() == 132'874'016);
  static_assert(parameter_count<WithHead<SiT<with_sigma(sit_l_2)>>>() == 462'300'192);
  static_assert(parameter_count<WithHead<SiT<with_sigma(sit_xl_2)>>>() == 680'441'504);
  static_assert(parameter_count<SiT<with_sigma(sit_xl_2)>>() == 675'129'632);
  // 16 tensors and 10 a block.
  BOOST_TEST(keys<WithHead<SiT<sit_b_2>>>().size() == 136u);
  BOOST_TEST(keys<WithHead<SiT<sit_l_2>>>().size() == 256u);
  BOOST_TEST(keys<WithHead<SiT<sit_xl_2>>>().size() == 296u);
}

/// method: column first, all sines before all cosines.  Units of the last printed digit.
BOOST_AUTO_TEST_CASE(positions_have_the_published_values) {
  constexpr DiTConfig wide{.hidden = 1152, .depth = 1, .heads = 16};
  expect_published(position<wide>(1, 0), 0.8414709848, 1e-10);
  expect_published(position<wide>(1, 1), 0.8240513478, 1e-10);
  expect_published(position<wide>(1, 2), 0.8064016693, 1e-10);
  expect_published(position<wide>(1, 288), 0.5403023059, 1e-10);
  BOOST_TEST(position<wide>(1, 576) == 0);
  BOOST_TEST(position<wide>(1, 577) == 0);
  BOOST_TEST(position<wide>(1, 864) == 1);
  for (int i = 0; i < 3; ++i) BOOST_TEST(position<wide>(16, i) == 0);
  expect_published(position<wide>(16, 576), 0.8414709848, 1e-10);
  expect_published(position<wide>(16, 577), 0.8240513478, 1e-10);

  constexpr DiTConfig base{.hidden = 768, .depth = 1, .heads = 12};
  expect_published(position<base>(37, 0), -0.9589243, 1e-7);
  expect_published(position<base>(37, 1), -0.9985735, 1e-7);
  expect_published(position<base>(37, 191), 0.0005246, 1e-7);
  expect_published(position<base>(37, 192), 0.2836622, 1e-7);
  expect_published(position<base>(37, 384), 0.9092974, 1e-7);
  expect_published(position<base>(37, 385), 0.9442368, 1e-7);
  expect_published(position<base>(37, 767), 1.0000000, 1e-7);
}

/// A row of patches has as many tokens as the image is wide.
BOOST_AUTO_TEST_CASE(positions_of_an_image_that_is_not_square) {
  for (int token = 0; token < 4 * 8; ++token)
    for (int k = 0; k < 8; ++k) {
      const double frequency = std::pow(10000.0, -k / 8.0), column = token % 8, row = token / 8;
      BOOST_TEST(position<tiny>(token, k) == std::sin(column * frequency));
      BOOST_TEST(position<tiny>(token, 8 + k) == std::cos(column * frequency));
      BOOST_TEST(position<tiny>(token, 16 + k) == std::sin(row * frequency));
      BOOST_TEST(position<tiny>(token, 24 + k) == std::cos(row * frequency));
    }
}

/// Every key by its rule: Xavier bounds of (fan in, fan out), deviation 0.02, zeros.  n draws of U(−a, a) have the mean
/// square a²/3 with deviation a² √(4/45/n), n normal ones σ² with σ² √(2/n); five deviations are allowed.
BOOST_AUTO_TEST_CASE(a_fresh_model_has_the_published_initial_values) {
  Rig<WithHead<Model>, float> rig;
  rig.store().initialise(1);
  for (const ParamInfo& p : rig.list()) {
    const Numbers v = rig.values(p.name);
    double square = 0, largest = 0;
    for (const double x : v) {
      square += x * x / double(v.size());
      largest = std::max(largest, std::abs(x));
    }
    const double n = double(v.size());
    if (p.name == "pos_embed") {
      for (std::size_t i = 0; i < v.size(); ++i)
        BOOST_TEST(v[i] == static_cast<float>(position<tiny>(static_cast<int>(i) / 32, static_cast<int>(i) % 32)));
    } else if (ends(p.name, ".bias") || p.name.find("adaLN") != std::string::npos || p.name.find("final_layer") == 0) {
      BOOST_TEST(largest == 0, p.name);
    } else if (p.name.find("t_embedder") == 0 || p.name.find("y_embedder") == 0) {
      BOOST_TEST(std::abs(square - 4e-4) <= 5 * 4e-4 * std::sqrt(2 / n), p.name);
    } else {
      const double in = double(p.size / p.shape[0]), a = std::sqrt(6 / (in + double(p.shape[0])));
      BOOST_TEST(largest <= a, p.name);
      BOOST_TEST(largest >= a * (1 - 20 / n), p.name);
      BOOST_TEST(std::abs(square - a * a / 3) <= 5 * a * a * std::sqrt(4 / (45 * n)), p.name);
    }
  }
}

BOOST_AUTO_TEST_CASE(draws_depend_on_the_name_of_a_weight_alone) {
  Rig<Model, float> shallow;
  Rig<WithHead<SiT<deeper, Classes<4>>>, float> deep;
  shallow.store().initialise(1);
  deep.store().initialise(1);
  for (const ParamInfo& p : shallow.list()) BOOST_TEST((shallow.values(p.name) == deep.values(p.name)), p.name);
  BOOST_TEST((deep.values("blocks.1.attn.qkv.weight") != deep.values("blocks.2.attn.qkv.weight")));
  deep.store().initialise(2);
  BOOST_TEST((deep.values("blocks.1.attn.qkv.weight") != shallow.values("blocks.1.attn.qkv.weight")));
}

BOOST_AUTO_TEST_CASE(averages_start_as_the_weights) {
  Rig<Model, float> rig;
  rig.store().initialise(1);
  BOOST_TEST(std::equal(rig.store().master(), rig.store().master() + rig.store().size(), rig.store().ema(0)));
}

BOOST_AUTO_TEST_CASE(only_the_position_embedding_is_a_constant) {
  Rig<Model, float> rig;
  for (const ParamInfo& p : rig.list()) BOOST_TEST((p.kind == ParamKind::constant) == (p.name == "pos_embed"), p.name);
}

BOOST_AUTO_TEST_CASE(a_description_has_sizes_keys_shapes_and_counts) {
  const std::string s = describe(Model{});
  BOOST_TEST(s.find("8x16x3 patch 2 hidden 32 depth 2 heads 2 mlp_ratio 4 condition Classes 4\n") == 0);
  for (const char* line : {"\npos_embed [1, 32, 32] 1024\n", "\ny_embedder.embedding_table.weight [5, 32] 160\n",
                           "\nblocks.1.mlp.fc2.weight [32, 128] 4096\n", "\nfinal_layer.linear.bias [12] 12\n"})
    BOOST_TEST(s.find(line) != std::string::npos, line);
  BOOST_TEST(s.find(text("\nparameters ", parameter_count<Model>(), ", ")) != std::string::npos);
  BOOST_TEST(s.find("qk_norm") == std::string::npos);
  constexpr DiTConfig other{.channels = 1, .hidden = 8, .depth = 1, .heads = 2, .qk_norm = true, .learn_sigma = true};
  BOOST_TEST((summary<SiT<other, Unconditional>>()) ==
             "32x32x1 patch 2 hidden 8 depth 1 heads 2 mlp_ratio 4 qk_norm learn_sigma condition Unconditional 0");
}

BOOST_AUTO_TEST_SUITE_END()
