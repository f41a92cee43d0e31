// Checks gradients of one block and of whole training steps in double against central differences, to 1e-7.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace {

using sra::dynamic;
using sra::index_t;
using sra::Layer;
using sra::Shape;

constexpr double h = 5e-4;  ///< step of differences

/// dL/dx by the five-point formula; its truncation is h⁴/30 L⁽⁵⁾ = 2e-15 L⁽⁵⁾.
template <class L>
double central_difference(double& x, L loss) {
  const double at = x;
  const auto value = [&](double step) {
    x = at + step * h;
    return loss();
  };
  const double result = (8 * (value(1) - value(-1)) - (value(2) - value(-2))) / (12 * h);
  x = at;
  return result;
}

/// Compares a gradient with differences at a sample of elements.  The error's unit is the element's gradient, or the
/// root mean square of the tensor's where that is larger: elements near zero are sums that cancel.  A loss rounds 16
/// times, say, and its differences are off by 1.5 / h of that: gradients that are zero by symmetry (a shift of all
/// keys) need it.
/// @return the worst error as a part of the allowed one, 1e-7 and rounding
template <class Values, class Gradient, class L>
double worst_error(Values values, const Gradient& gradient, L loss) {
  double square = 0;
  for (const double g : gradient) square += g * g;
  const double rms = std::sqrt(square / static_cast<double>(gradient.size()));
  BOOST_TEST(rms > 0);
  const double rounding = 16 * 0x1p-53 * 1.5 / h * std::abs(loss());
  double worst = 0;
  const std::size_t n = gradient.size(), samples = std::min<std::size_t>(n, 5);
  for (std::size_t k = 0; k < samples; ++k) {
    const std::size_t i = k * (n - 1) / std::max<std::size_t>(samples - 1, 1);
    const double want = central_difference(values[i], loss);
    worst = worse(worst, std::abs(gradient[i] - want) / (1e-7 * std::max(std::abs(want), rms) + rounding));
  }
  return worst;
}

template <sra::DiTConfig C, class Distance>
void check_step(sra::SRALoss<Layer<1>, Layer<2>, Distance> align) {
  using Model = sra::SiT<C, sra::Classes<3>>;
  using Trainer = sra::Trainer<Model, decltype(align), sra::Cpu, double>;
  typename Trainer::Options o;
  o.batch = 3;
  o.threads = 1;
  o.condition_dropout = 0.4f;
  o.align = align;
  Trainer t{o};
  sra::test::randomise(t);
  sra::test::Samples<Model> samples(3);
  const auto loss = [&] { return t.losses(samples.all()).total; };
  loss();
  const auto all = sra::test::gradients_of(t);
  double worst = 0;
  int checked = 0;
  for (const auto& p : t.engine().store().parameters()) {
    if (p.kind == sra::ParamKind::constant) continue;
    std::vector<double> gradient(all.begin() + p.offset, all.begin() + p.offset + p.size);
    auto values = t.parameter(p.name);
    if (p.name.starts_with("y_embedder")) {  // rows of classes that occur, the null class among them
      bool null_occurs = false;
      for (index_t b = 0; b < o.batch; ++b)
        null_occurs |= sra::Rng(o.seed, sra::Purpose::drop_label, 0, b).uniform(0) < o.condition_dropout;
      BOOST_TEST(null_occurs);
    }
    double error = 0;
    BOOST_TEST_CONTEXT(p.name) {
      error = worst_error(values, gradient, loss);
      BOOST_TEST(error <= 1);
    }
    worst = worse(worst, error), ++checked;
  }
  BOOST_TEST_MESSAGE(checked << " tensors, worst error " << worst << " of the allowed one");
  BOOST_TEST(checked == 15 + (C.qk_norm ? 14 : 10) * C.depth);
}

constexpr sra::DiTConfig wide{
    .height = 8, .width = 12, .channels = 2, .patch = 4, .hidden = 16, .depth = 3, .heads = 2, .qk_norm = true};

}  // namespace

BOOST_AUTO_TEST_SUITE(gradient)

BOOST_AUTO_TEST_CASE(of_a_block_with_normed_queries_equals_central_differences) {
  static constexpr int width = 16;
  using Block = sra::DiTBlock<width, 2, 4, true>;
  sra::Cpu cpu({.threads = 2});
  sra::Store<Block, sra::Cpu, double> store(cpu, 1);
  store.allocate();
  sra::Workspace<sra::Cpu> workspace(cpu);
  static constexpr index_t batch = 2, tokens = 5;
  std::vector<double> x(batch * tokens * width), m(batch * 6 * width), target(x.size());
  const auto fill = [](auto& values, std::uint64_t seed, double scale) {
    const sra::Rng rng(seed, sra::Purpose::user, 0, 0);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = scale * rng.normal_double(i);
  };
  fill(x, 1, 1.0), fill(m, 2, 0.5), fill(target, 3, 1.0);
  std::vector<double> dx(x.size()), dm(m.size());
  for (const auto& p : store.parameters()) {
    std::vector<double> values(static_cast<std::size_t>(p.size));
    fill(values, static_cast<std::uint64_t>(p.offset) + 4, 0.3);
    std::copy(values.begin(), values.end(), store.master() + p.offset);
  }
  const auto run = [&] {
    std::ranges::fill(store.states(), sra::unwritten);
    using C = sra::Recording<sra::Cpu, double>;
    C context(workspace, store.student());
    auto tokens_in = sra::input(context, sra::dense(x.data(), Shape<dynamic, tokens, width>{batch}));
    auto modulation = sra::input(context, sra::dense(m.data(), Shape<dynamic, 6 * width>{batch}));
    const auto wanted = sra::constant(context, sra::dense(target.data(), Shape<dynamic, tokens, width>{batch}));
    sra::mark(context, [tokens_in, modulation, to_x = dx.data(), to_m = dm.data()](C&) {
      std::copy_n(static_cast<const double*>(tokens_in.slot->data), batch * tokens * width, to_x);
      std::copy_n(static_cast<const double*>(modulation.slot->data), batch * 6 * width, to_m);
    });
    const auto loss = sra::mean(sra::square(store.module()(tokens_in, modulation) - wanted));
    const double value = loss.value.data[0];
    sra::backward(loss);
    workspace.roll_back();
    return value;
  };
  run();
  const std::vector<double> all(store.gradient(), store.gradient() + store.size()), of_x = dx, of_m = dm;
  BOOST_TEST(worst_error(std::span(x), of_x, run) <= 1);
  BOOST_TEST(worst_error(std::span(m), of_m, run) <= 1);
  for (const auto& p : store.parameters())
    if (!p.name.starts_with("adaLN")) BOOST_TEST_CONTEXT(p.name) {  // the model computes m by it, not the block
        const std::vector<double> gradient(all.begin() + p.offset, all.begin() + p.offset + p.size);
        BOOST_TEST(worst_error(store.master() + p.offset, gradient, run) <= 1);
      }
}

BOOST_AUTO_TEST_CASE(of_a_step_with_cosine_over_features_equals_central_differences) {
  check_step<sra::test::tiny>(sra::SRALoss<Layer<1>, Layer<2>, sra::Cosine>{});
}

BOOST_AUTO_TEST_CASE(of_a_step_with_normed_queries_and_cosine_over_tokens_equals_central_differences) {
  check_step<wide>(sra::SRALoss<Layer<1>, Layer<2>, sra::TokenCosine>{});
}

BOOST_AUTO_TEST_SUITE_END()
