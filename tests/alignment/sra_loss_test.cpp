// Checks the self-representation alignment: what the teacher sees and computes, the distances, the weight, the layers.
// SPDX-License-Identifier: MIT
#include "../train/tiny_run.hpp"
#include "../worst_error.hpp"
#include "spied_distance.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <string>
#include <vector>

namespace {

using sra::index_t;
using sra::Layer;
using sra::test::says;
using sra::test::Tiny;
using user::Kind;
using user::Seen;
using user::Spied;

// In double, so that formulas can be held against naive ones closely; the code is the same for float.
template <class Align>
using TrainerOf = sra::Trainer<Tiny, Align, sra::Cpu, double>;
using Dynamic = sra::SRALoss<Layer<>, Layer<>, Spied>;
using Static = sra::SRALoss<Layer<1>, Layer<2>, Spied>;
using Trainer = TrainerOf<Dynamic>;
using Samples = sra::test::Samples<Tiny>;

constexpr index_t batch = 8, tokens = 4, width = 16;
static_assert(tokens == sra::test::tiny.tokens() && width == sra::test::tiny.hidden && tokens != width);

template <class Align = Dynamic>
typename TrainerOf<Align>::Options options() {
  typename TrainerOf<Align>::Options o;
  o.batch = batch;
  o.seed = 21;
  o.threads = 1;
  o.condition_dropout = 0;
  if constexpr (std::is_same_v<Align, Dynamic>) o.align.student = Layer{1}, o.align.teacher = Layer{2};
  return o;
}

/// Losses of the first step of a randomised trainer.
template <class T>
sra::Losses losses(T& trainer, const Samples& samples = Samples(batch), const sra::Draws<Tiny, double>& draws = {}) {
  return trainer.losses(samples.all(), draws);
}

bool same_bits(const sra::Losses& a, const sra::Losses& b) {
  const auto same = [](double x, double y) {
    return std::bit_cast<std::uint64_t>(x) == std::bit_cast<std::uint64_t>(y);
  };
  return same(a.denoising, b.denoising) && same(a.alignment, b.alignment) && same(a.total, b.total) &&
         std::isfinite(a.total);
}

/// A distance of [B, T, D] features and its derivative, term by term.
struct Naive {
  const Seen& s;
  double beta;
  std::vector<double> d = std::vector<double>(s.a.size());
  int below = 0, above = 0;  // of smooth L1's threshold

  /// 1 − cos over `count` elements at the given distance from each other, over all `groups` beginnings, averaged.
  double cosine(const std::vector<std::size_t>& beginnings, std::size_t count, std::size_t step) {
    double sum = 0;
    for (const std::size_t at : beginnings) {
      double aa = 0, bb = 0, ab = 0;
      for (std::size_t i = 0; i < count; ++i) {
        const double a = s.a[at + i * step], b = s.b[at + i * step];
        aa += a * a, bb += b * b, ab += a * b;
      }
      const double c = ab / std::sqrt(aa * bb), n = static_cast<double>(beginnings.size());
      for (std::size_t i = 0; i < count; ++i)
        d[at + i * step] = -(s.b[at + i * step] / std::sqrt(aa * bb) - c * s.a[at + i * step] / aa) / n;
      sum += (1 - c) / n;
    }
    return sum;
  }

  double elementwise(Kind kind) {
    const double n = static_cast<double>(s.a.size());
    double sum = 0;
    for (std::size_t i = 0; i < s.a.size(); ++i) {
      const double x = s.a[i] - s.b[i], m = std::abs(x), sign = x > 0 ? 1 : -1;
      const bool small = m < beta;
      below += small, above += !small;
      if (kind == Kind::l1) sum += m / n, d[i] = sign / n;
      if (kind == Kind::l2) sum += x * x / n, d[i] = 2 * x / n;
      if (kind == Kind::smooth_l1)
        sum += (small ? x * x / (2 * beta) : m - beta / 2) / n, d[i] = (small ? x / beta : sign) / n;
    }
    return sum;
  }

  double value(Kind kind) {
    std::vector<std::size_t> beginnings;
    if (kind == Kind::cosine)  // of every token
      for (std::size_t t = 0; t < batch * tokens; ++t) beginnings.push_back(t * width);
    if (kind == Kind::token_cosine)  // of every feature of every sample
      for (std::size_t k = 0; k < batch * width; ++k) beginnings.push_back(k / width * tokens * width + k % width);
    if (kind == Kind::cosine) return cosine(beginnings, width, 1);
    if (kind == Kind::token_cosine) return cosine(beginnings, tokens, width);
    return elementwise(kind);
  }
};

/// How often each kernel was launched.
struct Counter : sra::LaunchObserver {
  std::map<std::string, int> launches;
  void before(const char* kernel, const sra::Cost&) override { ++launches[kernel]; }
  void after(const char*) override {}
};

/// A head that returns its input: x = silu(x) − silu(−x).
void make_head_identity(Trainer& t) {
  const auto first = t.parameter("ap_head.linear1.weight"), second = t.parameter("ap_head.linear2.weight");
  for (const char* bias : {"ap_head.linear1.bias", "ap_head.linear2.bias"}) std::ranges::fill(t.parameter(bias), 0.0);
  for (std::size_t out = 0; out < 2 * width; ++out)
    for (std::size_t in = 0; in < width; ++in) {
      const double w = out % width != in ? 0 : out < width ? 1 : -1;
      first[out * width + in] = w;       // [2 D, D]
      second[in * 2 * width + out] = w;  // [D, 2 D]
    }
}

/// The largest difference of the student's features behind the head and the teacher's.
double largest_difference(const Seen& seen) {
  double most = 0;
  for (std::size_t i = 0; i < seen.a.size(); ++i) most = std::max(most, std::abs(seen.a[i] - seen.b[i]));
  return most;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sra_loss)

BOOST_AUTO_TEST_CASE(every_distance_equals_its_naive_formula_and_so_does_its_gradient) {
  Seen first;
  std::vector<double> values;
  for (const Kind kind : {Kind::cosine, Kind::token_cosine, Kind::smooth_l1, Kind::l1, Kind::l2}) {
    Seen seen;
    auto o = options();
    o.align.distance = {kind, &seen, 0.5f};
    Trainer t{o};
    sra::test::randomise(t);
    const auto got = losses(t);
    BOOST_REQUIRE(seen.a.size() == static_cast<std::size_t>(batch * tokens * width));
    Naive naive{seen, 0.5};
    const double want = naive.value(kind);
    // Sums of 512 doubles, in another order.
    BOOST_TEST(std::abs(got.alignment - want) <= 512 * 0x1p-53 * std::max(1.0, want));
    BOOST_TEST(got.weight == 0.5);
    BOOST_TEST(got.total == got.denoising + 0.5 * got.alignment, boost::test_tools::tolerance(1e-14));
    const double scale = std::abs(*std::ranges::max_element(naive.d, {}, [](double x) { return std::abs(x); }));
    double worst = 0;
    for (std::size_t i = 0; i < naive.d.size(); ++i) worst = worse(worst, std::abs(seen.da[i] - 0.5 * naive.d[i]));
    BOOST_TEST(scale > 0);
    BOOST_TEST(worst <= 64 * 0x1p-53 * scale);
    if (kind == Kind::smooth_l1) BOOST_TEST((naive.below > 50 && naive.above > 50));
    if (values.empty()) first = seen;
    BOOST_TEST((seen.a == first.a && seen.b == first.b));  // the same features under every distance
    values.push_back(got.alignment);
  }
  BOOST_TEST(std::abs(values[0] - values[1]) > 1e-3);  // over features, and over tokens
}

BOOST_AUTO_TEST_CASE(default_weights_are_the_authors) {
  const sra::Progress late{.step = 5, .steps = 10, .epoch = 200};
  const auto weight = [&](auto loss) { return loss.weight(late); };
  BOOST_TEST(weight(sra::SRALoss<Layer<1>, Layer<2>>{}) == 0.5);
  BOOST_TEST(weight(sra::SRALoss<Layer<1>, Layer<2>, sra::TokenCosine>{}) == 0.5);
  const double at_200 = 0.2 * std::pow(10.0, -0.051);
  BOOST_TEST(weight(sra::SRALoss<Layer<1>, Layer<2>, sra::SmoothL1>{}) == at_200, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(weight(sra::SRALoss<Layer<1>, Layer<2>, sra::L1>{}) == at_200, boost::test_tools::tolerance(1e-12));
  BOOST_TEST(weight(sra::SRALoss<Layer<1>, Layer<2>, sra::L2>{}) == at_200, boost::test_tools::tolerance(1e-12));
}

BOOST_AUTO_TEST_CASE(the_teacher_stops_after_its_block_and_has_neither_final_layer_nor_head) {
  Trainer t{options()};
  sra::test::randomise(t);
  const auto before = losses(t);
  const auto gradient = sra::test::gradients_of(t);
  const auto poison = [&](const std::string& beginning) {
    int found = 0;
    for (const auto& p : t.engine().store().parameters())
      if (p.name.starts_with(beginning))
        ++found, std::ranges::fill(t.ema(p.name), std::numeric_limits<double>::quiet_NaN());
    return found;
  };
  BOOST_TEST(poison("blocks.2.") == 10);
  BOOST_TEST(poison("final_layer.") == 4);
  BOOST_TEST(poison("ap_head.") == 4);
  BOOST_TEST(same_bits(losses(t), before));
  BOOST_TEST(sra::test::gradients_of(t) == gradient);
  t.ema("blocks.1.mlp.fc2.bias")[0] = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST(std::isnan(losses(t).alignment));
  BOOST_TEST(std::isfinite(losses(t).denoising));
}

BOOST_AUTO_TEST_CASE(the_teacher_runs_one_attention_for_each_of_its_blocks_and_none_backward) {
  for (const int layer : {1, 2, 3}) {
    auto o = options();
    o.align.teacher = Layer{layer};
    Trainer t{o};
    Counter counter;
    t.engine().workspace().observer = &counter;
    losses(t);
    BOOST_TEST(counter.launches["attention_forward"] == sra::test::tiny.depth + layer);
    BOOST_TEST(counter.launches["attention_backward"] == sra::test::tiny.depth);
    BOOST_TEST(counter.launches["cosine_forward"] == 1);
  }
}

BOOST_AUTO_TEST_CASE(layers_for_the_compiler_and_for_run_time_give_the_same_bits) {
  TrainerOf<Static> fixed{options<Static>()};
  Trainer chosen{options()};
  sra::test::randomise(fixed), sra::test::randomise(chosen);
  BOOST_TEST(same_bits(losses(fixed), losses(chosen)));
  BOOST_TEST(sra::test::gradients_of(fixed) == sra::test::gradients_of(chosen));
  auto o = options();
  o.align.student = Layer{2};
  Trainer other{o};
  sra::test::randomise(other);
  BOOST_TEST(losses(other).alignment != losses(chosen).alignment);
}

BOOST_AUTO_TEST_CASE(layers_out_of_range_are_refused_with_both_numbers) {
  const auto refused = [](int student, int teacher, std::vector<std::string> words) {
    auto o = options();
    o.align.student = Layer{student}, o.align.teacher = Layer{teacher};
    BOOST_CHECK_EXCEPTION(Trainer{o}, sra::Error, says(words));
  };
  refused(3, 2, {"SRALoss", "student 3", "teacher 2"});
  refused(1, 4, {"SRALoss", "teacher 4", "depth 3"});
  refused(4, 4, {"SRALoss", "4", "depth 3"});
  refused(0, 2, {"SRALoss", "counted from 1", "student 0"});
  refused(-1, 2, {"SRALoss", "counted from 1", "student -1"});
}

BOOST_AUTO_TEST_CASE(the_teacher_sees_the_labels_that_the_student_sees) {
  auto o = options();
  o.condition_dropout = 0.5f;
  Trainer t{o};
  sra::test::randomise(t);
  Samples samples(batch);
  const auto before = losses(t, samples);
  int dropped = 0;
  for (index_t b = 0; b < batch; ++b) {
    const bool is_dropped = sra::Rng(o.seed, sra::Purpose::drop_label, 0, b).uniform(0) < o.condition_dropout;
    auto& label = samples.labels[static_cast<std::size_t>(b)];
    label = (label + 1) % 3;
    const auto now = losses(t, samples);
    BOOST_TEST(same_bits(now, before) == is_dropped);
    BOOST_TEST((now.alignment == before.alignment) == is_dropped);
    label = (label + 2) % 3;
    dropped += is_dropped;
  }
  BOOST_TEST((dropped > 0 && dropped < batch));
}

BOOST_AUTO_TEST_CASE(the_teachers_time_is_the_students_less_a_draw_of_each_sample_and_not_below_zero) {
  auto o = options();
  o.align.t_max = 0.75f;
  Trainer t{o};
  sra::test::randomise(t);
  std::vector<double> times, teacher;
  int clamped = 0;
  for (index_t b = 0; b < batch; ++b) {
    times.push_back(0.1 * static_cast<double>(b) + 0.05);
    const double u = sra::Rng(o.seed, sra::Purpose::teacher_time, 0, b).uniform(0);
    const double earlier = times.back() - 0.75 * u;
    clamped += earlier < 0;
    teacher.push_back(std::max(0.0, earlier));
  }
  BOOST_TEST((clamped > 0 && clamped < batch));
  using Times = sra::View<const double, sra::Shape<sra::dynamic>>;
  const auto view = [](const std::vector<double>& v) {
    return Times(sra::dense(v.data(), sra::Shape<sra::dynamic>{batch}));
  };
  const Samples samples(batch);
  const auto drawn = losses(t, samples, {.times = view(times)});
  BOOST_TEST(same_bits(losses(t, samples, {.times = view(times), .teacher_times = view(teacher)}), drawn));
  BOOST_TEST(losses(t, samples, {.times = view(times), .teacher_times = view(times)}).alignment != drawn.alignment);

  std::vector<double> all;  // the student's times are drawn in the same way
  for (index_t b = 0; b < batch; ++b) all.push_back(sra::Rng(o.seed, sra::Purpose::time, 0, b).uniform(0));
  BOOST_TEST(same_bits(losses(t, samples, {.times = view(all)}), losses(t, samples)));
}

BOOST_AUTO_TEST_CASE(a_teacher_with_the_students_weights_and_time_has_the_students_features) {
  for (const int layer : {1, 3}) {
    Seen seen;
    auto o = options();
    o.condition_dropout = 0.5f;
    o.align.student = o.align.teacher = Layer{layer};
    o.align.distance.seen = &seen;
    o.align.t_max = 0;
    Trainer same{o};
    o.align.t_max = 0.5f;
    Trainer earlier{o};
    for (Trainer* t : {&same, &earlier}) {
      sra::test::randomise(*t);
      make_head_identity(*t);
      std::copy_n(t->engine().store().master(), t->engine().store().size(), t->engine().store().ema(0));
    }
    losses(same);  // same images, noise, times and dropped labels; the head rounds a few times
    BOOST_TEST(largest_difference(seen) <= 8 * 0x1p-53 * *std::ranges::max_element(seen.a));
    losses(earlier);
    BOOST_TEST(largest_difference(seen) > 1e-2);
    same.ema("x_embedder.proj.bias")[0] += 0.1;  // the teacher is the average
    losses(same);
    BOOST_TEST(largest_difference(seen) > 1e-2);
  }
}

BOOST_AUTO_TEST_CASE(the_weight_follows_its_schedule) {
  auto o = options();
  o.align.weight = [](const sra::Progress& p) { return 0.25 * static_cast<double>(p.step); };
  Trainer t{o};
  sra::test::randomise(t);
  for (int i = 0; i < 3; ++i) {
    const auto l = t.step(Samples(batch).all()).losses;
    BOOST_TEST(l.weight == 0.25 * i);
    BOOST_TEST(l.alignment > 0);
    BOOST_TEST(l.total == l.denoising + l.weight * l.alignment, boost::test_tools::tolerance(1e-14));
  }
}

BOOST_AUTO_TEST_CASE(weight_zero_is_no_alignment_and_any_weight_reaches_only_what_lies_below) {
  TrainerOf<sra::NoAlignment> plain{options<sra::NoAlignment>()};
  auto o = options();
  o.align.weight = sra::constant(0);
  Trainer zero{o};
  o.align.weight = sra::constant(3);
  Trainer three{o};
  sra::test::randomise(plain), sra::test::randomise(zero), sra::test::randomise(three);
  BOOST_TEST(losses(plain).denoising == losses(zero).denoising);
  BOOST_TEST(losses(three).denoising == losses(zero).denoising);
  for (const auto& p : three.engine().store().parameters()) {
    const auto without = zero.gradient(p.name), with = three.gradient(p.name);
    const bool head = p.name.starts_with("ap_head.");
    const bool above =
        p.name.starts_with("blocks.1.") || p.name.starts_with("blocks.2.") || p.name.starts_with("final_layer.");
    const bool reached = !above && p.kind == sra::ParamKind::trained;
    BOOST_TEST_CONTEXT(p.name) {
      BOOST_TEST(std::ranges::equal(without, with) != reached);
      if (!head) BOOST_TEST(std::ranges::equal(without, plain.gradient(p.name)));  // −0 equals 0
      if (head) BOOST_TEST(std::ranges::all_of(without, [](double g) { return g == 0; }));
    }
  }
}

BOOST_AUTO_TEST_CASE(layers_that_suit_a_depth_are_the_published_pairs_or_quarter_and_five_sevenths) {
  const auto pair = [](int depth, int student, int teacher) {
    BOOST_TEST(sra::default_student_layer(depth) == student);
    BOOST_TEST(sra::default_teacher_layer(depth) == teacher);
  };
  pair(12, 3, 8), pair(24, 6, 16), pair(28, 8, 20);
  for (int depth = 2; depth <= 64; ++depth) {
    if (depth == 12 || depth == 24 || depth == 28) continue;
    pair(depth, std::max(1, static_cast<int>(std::lround(depth / 4.0))),
         static_cast<int>(std::lround(5.0 * depth / 7)));
    BOOST_TEST(sra::default_student_layer(depth) <= sra::default_teacher_layer(depth));
  }
  pair(1, 1, 1);
}

BOOST_AUTO_TEST_CASE(a_line_about_the_alignment_names_what_matters) {
  const sra::SRALoss<Layer<>, Layer<>, sra::SmoothL1> loss{
      .student = Layer{2}, .teacher = Layer{5}, .distance = {.beta = 0.25f}, .t_max = 0.5f};
  BOOST_TEST(loss.describe() == "SRALoss student 2 teacher 5 SmoothL1 beta 0.25 t_max 0.5");
  BOOST_TEST((sra::SRALoss<Layer<3>, Layer<8>>{}.describe()) == "SRALoss student 3 teacher 8 Cosine t_max 0.2");
}

BOOST_AUTO_TEST_SUITE_END()
