// Checks a trainer's steps: the update against a naive one, accumulation, frozen parameters, threads and memory.
// SPDX-License-Identifier: MIT
#include "probe.hpp"
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <string>
#include <vector>

namespace {

using sra::index_t;
using sra::test::Samples;
using Trainer = sra::Trainer<sra::test::Tiny, user::Probe>;
using Options = Trainer::Options;

constexpr double u = 0x1p-24;  // a rounding to float changes a number by at most this part of it

Options options(const user::Control* control = nullptr) {
  Options o;
  o.batch = 8;
  o.seed = 3;
  o.threads = 1;
  o.align.control = control;
  return o;
}

/// AdamW, clipping and averages in double, with bounds of what rounding to float does to each number.
struct Reference {
  Options o;
  std::vector<double> p, m, v;
  std::vector<std::vector<double>> ema;
  std::vector<bool> trained;
  std::vector<double> m_abs, p_error;
  std::vector<std::vector<double>> ema_error;
  int updates = 0;

  Reference(const Trainer& t, const Options& options) : o(options) {
    const auto& store = t.engine().store();
    const auto n = static_cast<std::size_t>(store.size());
    p.assign(store.master(), store.master() + n);
    m.assign(n, 0.0), v = m_abs = p_error = m;
    for (int i = 0; i < store.emas(); ++i) ema.emplace_back(store.ema(i), store.ema(i) + n), ema_error.push_back(m);
    trained.assign(n, false);
    for (const auto& info : store.parameters())
      for (index_t i = 0; i < info.size; ++i)
        trained[static_cast<std::size_t>(info.offset + i)] = info.kind == sra::ParamKind::trained;
  }

  void update(const std::vector<float>& gradient, double lr) {
    double square = 0;
    for (const float g : gradient) square += double(g) * double(g);
    const double clip = std::min(1.0, o.clip / (std::sqrt(square) + 1e-6)), n = updates++, k = updates;
    const auto& a = o.adamw;
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (trained[i]) {
        const double g = clip * double(gradient[i]);
        p[i] *= 1 - lr * a.weight_decay;
        m[i] = a.beta1 * m[i] + (1 - a.beta1) * g;
        m_abs[i] = a.beta1 * m_abs[i] + (1 - a.beta1) * std::abs(g);
        v[i] = a.beta2 * v[i] + (1 - a.beta2) * g * g;
        const double first = 1 - std::pow(a.beta1, k), second = 1 - std::pow(a.beta2, k);
        const double root = std::sqrt(v[i] / second) + a.eps;
        p[i] -= lr * (m[i] / first) / root;
        p_error[i] += 3 * u * std::abs(p[i]) + 16 * u * k * lr * (m_abs[i] / first) / root;
      }
      for (std::size_t e = 0; e < ema.size(); ++e) {
        const double d = o.ema_warmup ? std::min(o.ema[e], (1 + n) / (10 + n)) : o.ema[e];
        ema_error[e][i] = d * ema_error[e][i] + (1 - d) * p_error[i] + 3 * u * (std::abs(ema[e][i]) + std::abs(p[i]));
        ema[e][i] = d * ema[e][i] + (1 - d) * p[i];
      }
    }
  }

  /// The worst error of a trainer's state as a part of the allowed one.
  double worst(const Trainer& t) const {
    const auto& s = t.engine().store();
    double w = 0;
    const auto see = [&](double got, double want, double allowed) {
      const double error = std::abs(got - want);
      if (!(error <= allowed)) w = std::max(w, allowed > 0 && std::isfinite(error) ? error / allowed : 1e9);
      if (allowed > 0) w = std::max(w, error / allowed);
    };
    constexpr double least = std::numeric_limits<float>::denorm_min();
    for (std::size_t i = 0; i < p.size(); ++i) {
      see(s.master()[i], p[i], p_error[i]);
      see(s.first_moment()[i], m[i], 5 * u * updates * m_abs[i] + least);
      see(s.second_moment()[i], v[i], 6 * u * updates * v[i] + 4 * least);
      for (std::size_t e = 0; e < ema.size(); ++e) see(s.ema(static_cast<int>(e))[i], ema[e][i], ema_error[e][i]);
    }
    return w;
  }
};

/// Options whose numbers floats hold exactly, so that rounding them is no error.
Options exact_options(const user::Control* control) {
  Options o = options(control);
  o.lr = sra::warmup(0x1p-5, 4);
  o.adamw = {.beta1 = 0.875, .beta2 = 0.9375, .eps = 0x1p-20, .weight_decay = 0.0625};
  o.clip = 0.125;
  o.ema = {0.9375, 0.125};
  return o;
}

void follow_reference(bool ema_warmup, bool skip) {
  user::Control control;
  Options o = exact_options(&control);
  o.ema_warmup = ema_warmup;
  Trainer t{o};
  sra::test::randomise(t);
  Reference reference(t, o);
  const Samples<> samples(8);
  for (int i = 0; i < 4; ++i) {
    if (skip && i == 1) {
      control.factor = std::numeric_limits<double>::infinity();
      BOOST_TEST(t.step(samples.all()).skipped);
      control.factor = 1;
      BOOST_TEST(reference.worst(t) <= 1);
      continue;
    }
    const auto report = t.step(samples.all());
    BOOST_TEST(!report.skipped);
    BOOST_TEST(report.lr == 0x1p-7 * (i + 1));
    BOOST_TEST(report.gradient_norm > o.clip);  // else clipping is not tested
    reference.update(sra::test::gradients_of(t), report.lr);
    const double worst = reference.worst(t);
    BOOST_TEST_MESSAGE("update " << i << ": " << worst << " of the allowed error");
    BOOST_TEST(worst <= 1);
  }
}

}  // namespace

BOOST_AUTO_TEST_SUITE(trainer)

BOOST_AUTO_TEST_CASE(updates_follow_a_naive_double_reference) { follow_reference(true, false); }

BOOST_AUTO_TEST_CASE(fixed_ema_decays_follow_the_reference_too) { follow_reference(false, false); }

BOOST_AUTO_TEST_CASE(a_skipped_step_does_not_count_in_bias_corrections_and_warm_up) { follow_reference(true, true); }

BOOST_AUTO_TEST_CASE(small_gradients_are_not_clipped_and_zero_means_no_clipping) {
  std::vector<sra::test::State<float>> states;
  for (const double clip : {0.0, 1e6}) {
    Options o = options();
    o.clip = clip;
    Trainer t{o};
    sra::test::randomise(t);
    t.step(Samples<>(8).all());
    const auto gradient = t.gradient("ap_head.linear1.weight");
    const auto& info = t.engine().store().find("ap_head.linear1.weight");
    const float* m = t.engine().store().first_moment() + info.offset;
    for (std::size_t i = 0; i < gradient.size(); ++i)
      BOOST_TEST(m[i] == 0.1f * gradient[i], boost::test_tools::tolerance(4e-7f));
    states.push_back(sra::test::state_of(t));
  }
  BOOST_TEST((states[0] == states[1]));
}

BOOST_AUTO_TEST_CASE(four_micro_batches_draw_and_learn_what_one_batch_does) {
  Options o = options();
  o.condition_dropout = 0.5f;
  Trainer one{o};
  o.accumulate = 4;
  Trainer four{o};
  for (Trainer* t : {&one, &four}) sra::test::randomise(*t);
  const Samples<> samples(8);
  const auto whole = one.step(samples.all());
  const std::vector<float> want = one.engine().denoising_per_sample();
  std::vector<float> got;
  const auto collect = [&] {
    got.insert(got.end(), four.engine().denoising_per_sample().begin(), four.engine().denoising_per_sample().end());
  };
  const auto parts = four.accumulated_step([&](index_t k) {
    if (k > 0) collect();
    return samples.batch(2 * k, 2);
  });
  collect();
  BOOST_TEST(got == want, boost::test_tools::per_element());  // same times, noise and dropped labels: same bits
  BOOST_TEST(std::abs(parts.losses.denoising - whole.losses.denoising) <= 8 * u * whole.losses.denoising);
  // Losses and gradients pass through about 32 roundings; sums run over 8 samples of 4 tokens in another order.
  const double part = 32 * u * std::sqrt(8.0 * 4.0);
  BOOST_TEST(std::abs(parts.losses.alignment - whole.losses.alignment) <= part * whole.losses.alignment);
  const auto a = sra::test::gradients_of(one), b = sra::test::gradients_of(four);
  for (const auto& p : one.engine().store().parameters()) {
    double difference = 0, norm = 0;
    for (index_t i = p.offset; i < p.offset + p.size; ++i) {
      const auto k = static_cast<std::size_t>(i);
      difference += std::pow(double(a[k]) - double(b[k]), 2);
      norm += std::pow(double(a[k]), 2);
    }
    BOOST_TEST_CONTEXT(p.name) BOOST_TEST(std::sqrt(difference) <= part * std::sqrt(norm));
  }
}

BOOST_AUTO_TEST_CASE(what_was_in_the_gradient_buffer_before_a_step_does_not_matter) {
  Options o = options();
  o.accumulate = 2;
  Trainer clean{o}, poisoned{o};
  for (Trainer* t : {&clean, &poisoned}) sra::test::randomise(*t);
  const Samples<> samples(8);
  const auto step = [&](Trainer& t) { return t.accumulated_step([&](index_t k) { return samples.batch(4 * k, 4); }); };
  for (int i = 0; i < 2; ++i) {
    auto& store = poisoned.engine().store();
    for (const auto& p : store.parameters())
      std::fill_n(store.gradient() + p.offset, p.size, std::numeric_limits<float>::quiet_NaN());
    step(clean);
    BOOST_TEST(!step(poisoned).skipped);
    BOOST_TEST((sra::test::state_of(clean) == sra::test::state_of(poisoned)));
    BOOST_TEST(sra::test::gradients_of(clean) == sra::test::gradients_of(poisoned));
  }
}

BOOST_AUTO_TEST_CASE(a_parameter_that_nobody_uses_has_gradient_zero_and_its_averages_follow_it) {
  Trainer t{options()};
  sra::test::randomise(t);
  const auto value = t.parameter("unused");
  const std::vector<float> before(value.begin(), value.end());
  std::fill(t.ema("unused").begin(), t.ema("unused").end(), 8.0f);
  auto& store = t.engine().store();
  const auto& info = store.find("unused");
  std::fill_n(store.gradient() + info.offset, info.size, 5.0f);
  t.step(Samples<>(8).all());
  for (std::size_t i = 0; i < before.size(); ++i) {
    BOOST_TEST(t.gradient("unused")[i] == 0.0f);
    BOOST_TEST(value[i] == before[i]);
    BOOST_TEST(t.ema("unused")[i] == 0.1f * 8.0f + 0.9f * before[i], boost::test_tools::tolerance(4e-7f));
  }
}

BOOST_AUTO_TEST_CASE(frozen_parameters_keep_their_bits_while_averages_follow_and_others_learn_as_before) {
  Options o = options();
  Trainer all{o};
  o.frozen = {"blocks.1.*", "*.proj.bias", "blocks.0.adaLN_modulation.1.weight"};
  Trainer some{o};
  for (Trainer* t : {&all, &some}) sra::test::randomise(*t);
  const auto before = sra::test::state_of(some);
  const Samples<> samples(8);
  all.step(samples.all()), some.step(samples.all());
  const auto wanted = sra::test::gradients_of(all), gradients = sra::test::gradients_of(some);
  some.step(samples.all());
  const auto after = sra::test::state_of(some);
  int frozen = 0;
  for (const auto& p : some.engine().store().parameters()) {
    const bool is_frozen = p.name.starts_with("blocks.1.") || p.name.ends_with(".proj.bias") || p.name == o.frozen[2];
    frozen += is_frozen;
    const auto same = [&](const std::vector<float>& a, const std::vector<float>& b) {
      return std::equal(a.begin() + p.offset, a.begin() + p.offset + p.size, b.begin() + p.offset);
    };
    const bool stays = is_frozen || p.kind == sra::ParamKind::constant || p.name == "unused" || p.name == "probed";
    BOOST_TEST_CONTEXT(p.name) {
      BOOST_TEST(same(before.buffers[0], after.buffers[0]) == stays);
      BOOST_TEST(same(before.buffers[1], after.buffers[1]) == stays);
      BOOST_TEST(!same(before.buffers[3], after.buffers[3]));
      if (!is_frozen) BOOST_TEST(same(wanted, gradients));
      if (is_frozen)
        BOOST_TEST(std::all_of(gradients.begin() + p.offset, gradients.begin() + p.offset + p.size,
                               [](float g) { return g == 0; }));
    }
  }
  BOOST_TEST(frozen == 10 + 1 + 2 + 1);  // a block, x_embedder, attn.proj of the other two blocks, one matrix
}

BOOST_AUTO_TEST_CASE(one_two_and_three_threads_give_the_same_bits) {
  const Samples<> samples(64);
  std::vector<sra::test::State<float>> states;
  for (const int threads : {1, 2, 3}) {
    Options o = options();
    o.threads = threads;
    // The bits are those of a run in which the other threads really worked; a busy machine may need several.
    index_t by_others = 0;
    for (int attempt = 0; attempt < 100 && by_others == 0; ++attempt) {
      Trainer t{o};
      sra::test::randomise(t);
      for (int i = 0; i < 3; ++i) t.step(samples.all());
      for (int w = 1; w < threads; ++w) by_others += t.backend().threads().worked_on(w);
      if (by_others > 0 || threads == 1) states.push_back(sra::test::state_of(t));
      if (threads == 1) break;
    }
    if (threads > 1) BOOST_REQUIRE(by_others > 0);
  }
  BOOST_TEST((states[1] == states[0]));
  BOOST_TEST((states[2] == states[0]));
}

BOOST_AUTO_TEST_CASE(a_step_takes_exactly_the_memory_that_was_planned) {
  for (const index_t n : {3, 70}) {
    Trainer t{options()};
    const Samples<> samples(n);
    auto& workspace = t.engine().workspace();
    const sra::MemoryPlan plan = t.engine().plan(n);
    t.engine().reserve(plan);
    const std::size_t planned = plan.activations + plan.gradients;
    BOOST_TEST(workspace.activations.peak() + workspace.gradients.peak() == 0u);
    t.losses(samples.all());
    BOOST_TEST(workspace.activations.peak() + workspace.gradients.peak() == planned);
    BOOST_TEST(planned > static_cast<std::size_t>(n) * 4 * 16 * sizeof(float) * 3 * 8);  // more than 8 tensors a block
  }
}

BOOST_AUTO_TEST_CASE(planning_changes_neither_state_nor_results) {
  Trainer planned{options()}, plain{options()};
  for (Trainer* t : {&planned, &plain}) sra::test::randomise(*t);
  const Samples<> samples(8);
  for (int i = 0; i < 2; ++i) {
    planned.engine().plan(8);
    planned.engine().plan(5);
    for (Trainer* t : {&planned, &plain}) t->step(samples.all());
    BOOST_TEST((sra::test::state_of(planned) == sra::test::state_of(plain)));
  }
}

BOOST_AUTO_TEST_CASE(growth_after_freeze_throws_and_leaves_everything_usable) {
  const Samples<> samples(64);
  Trainer t{options()}, calm{options()};
  for (Trainer* each : {&t, &calm}) {
    each->engine().plan(8);
    for (int i = 0; i < 2; ++i) each->step(samples.batch(0, 8));
  }
  t.engine().workspace().freeze();
  const auto before = sra::test::state_of(t);
  BOOST_CHECK_EXCEPTION(t.step(samples.batch(0, 64)), sra::FrozenError, sra::test::says({"frozen"}));
  BOOST_TEST((sra::test::state_of(t) == before));
  BOOST_TEST(t.step_number() == 2);
  for (Trainer* each : {&t, &calm}) each->step(samples.batch(0, 8));
  BOOST_TEST((sra::test::state_of(t) == sra::test::state_of(calm)));
  t.engine().workspace().thaw();
  t.step(samples.batch(0, 64));
  BOOST_TEST(t.step_number() == 4);
}

BOOST_AUTO_TEST_CASE(losses_of_a_batch_change_nothing_and_repeat_their_bits) {
  Trainer t{options()};
  sra::test::randomise(t);
  const Samples<> samples(8);
  const auto before = sra::test::state_of(t);
  const auto first = t.losses(samples.all());
  const auto gradient = sra::test::gradients_of(t);
  const auto second = t.losses(samples.all());
  BOOST_TEST(first.total == second.total);
  BOOST_TEST(first.total == first.denoising + first.weight * first.alignment, boost::test_tools::tolerance(8 * u));
  BOOST_TEST(first.weight == 0.5);
  BOOST_TEST(gradient == sra::test::gradients_of(t));
  BOOST_TEST((sra::test::state_of(t) == before));
  t.step(samples.all());
  BOOST_TEST(t.losses(samples.all()).total != first.total);  // draws belong to the step
}

BOOST_AUTO_TEST_SUITE_END()
