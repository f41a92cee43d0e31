// Trains both runs in turn, and compares what they have learned: loss and probes.
// SPDX-License-Identifier: MIT
#include "judge.hpp"
#include "report.hpp"

#include <sra/extra/linear_probe.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <future>
#include <numeric>

namespace demo {

namespace {

constexpr int parts = 8;  // of the training, after each of which both are looked at

/// Seconds that all threads of this process have computed.
double processor_time() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

std::vector<std::int32_t> one_of_each() {
  std::vector<std::int32_t> labels(10);
  std::iota(labels.begin(), labels.end(), 0);
  return labels;
}

/// What both have reached after a part of the training.
struct Reached {
  std::vector<index_t> step;
  std::vector<double> with, without, alignment, validation_with, validation_without;

  /// @param validation held-out pictures
  void add(index_t at, index_t validation, Run& a, Run& b) {
    const sra::Losses la = a.losses(), lb = b.losses();
    step.push_back(at);
    with.push_back(la.denoising), without.push_back(lb.denoising), alignment.push_back(la.alignment);
    validation_with.push_back(sra::Estimate::of(a.validate(validation)).mean);
    validation_without.push_back(sra::Estimate::of(b.validate(validation)).mean);
    std::printf("%-14s%6lld%10.4f%10.4f%12.4f%12.4f%10.4f%10s\n", "", static_cast<long long>(at), with.back(),
                without.back(), alignment.back(), validation_with.back(), validation_without.back(),
                sra::clock_text(std::max(a.seconds(), b.seconds())).c_str());
    std::fflush(stdout);
  }
  Record record() const {
    return Record{}
        .add("step", step)
        .add("sra_denoising", with)
        .add("none_denoising", without)
        .add("sra_alignment", alignment)
        .add("sra_validation", validation_with)
        .add("none_validation", validation_without);
  }
};

Record cost(const Run& run, index_t steps) {
  return Record{}
      .add("seconds", run.seconds())
      .add("milliseconds_per_step", 1e3 * run.seconds() / static_cast<double>(steps));
}

/// Means over tokens.  @param features [N, T, D]  @return [N, D]
Eigen::MatrixXd token_means(const std::vector<float>& features) {
  const Shape<dynamic, config.tokens(), config.hidden> shape{std::ssize(features) / (config.tokens() * config.hidden)};
  const auto all = sra::as_eigen(sra::dense(features.data(), shape));
  Eigen::MatrixXd means(shape.batch, config.hidden);
  for (index_t i = 0; i < shape.batch; ++i)
    means.row(i) = all.middleRows(i * config.tokens(), config.tokens()).colwise().mean().cast<double>();
  return means;
}

std::vector<sra::Estimate> probe(Run& run, const Pictures& fit, const Pictures& held) {
  std::array<int, config.depth> blocks;
  std::iota(blocks.begin(), blocks.end(), 1);
  constexpr Looked looked{true, 0.2};  // the averaged weights, a little noise
  const auto a = run.features(fit, looked, blocks), b = run.features(held, looked, blocks);
  std::vector<sra::Estimate> shares;
  for (std::size_t k = 0; k < a.size(); ++k)
    shares.push_back(sra::LinearProbe(token_means(a[k]), fit.labels, 10).accuracy(token_means(b[k]), held.labels));
  return shares;
}

std::string verdict(const sra::Estimate& d) {
  if (d.mean < -2 * d.standard_error) return "with alignment the loss is lower, by more than two standard errors";
  const std::string why = "; the paper's gain is in hundreds of thousands of steps, this is a minute of a tiny model";
  if (d.mean > 2 * d.standard_error) return "with alignment the loss is higher" + why;
  return "no difference that can be told from chance" + why;
}

}  // namespace

bool train_both(Run& a, Run& b, index_t until) {
  auto other = std::async(std::launch::async, [&] { return b.train_to(until); });
  const bool whole = a.train_to(until);
  return other.get() && whole;
}

index_t steps_in(const Settings& s) {
  constexpr index_t first = 4, last = 24;
  Settings trial = s;
  trial.folder /= "trial";
  trial.steps = last + 1;
  double seconds = 0;
  {
    const auto a = run_with_alignment(trial), b = run_without_alignment(trial);
    if (!a->train_to(1) || !b->train_to(1) || !train_both(*a, *b, first)) return 0;
    const double start = sra::now_seconds();
    if (!train_both(*a, *b, last)) return 0;
    seconds = (sra::now_seconds() - start) / (last - first);
  }
  std::filesystem::remove_all(trial.folder);
  return std::clamp<index_t>(std::lround(s.seconds / seconds / 400), 2, 25) * 400;
}

std::vector<Pictures> train(Runs& r) {
  const auto labels = one_of_each();
  const index_t steps = r.settings.steps;
  const double start = processor_time();
  say("training", "  step  with SRA   without   alignment  validation   without   elapsed");
  std::vector<Pictures> over_time{r.with->sample(labels, 3)};
  Reached reached;
  if (!r.with->train_to(1) || !r.without->train_to(1))
    return over_time;  // the loops begin, and watch for signals, in turn
  for (int part = 1; part <= parts; ++part) {
    const index_t until = std::max<index_t>(1, steps * part / parts);
    if (!train_both(*r.with, *r.without, until)) return over_time;
    reached.add(until, r.settings.validation / 4, *r.with, *r.without);
    over_time.push_back(r.with->sample(labels, 3));
    if (part % (parts / 2) == 0) r.with->save(), r.without->save();
  }
  r.record.add("training", reached.record());
  r.record.add("processor_seconds_of_training", processor_time() - start);
  r.record.add("cost", Record{}.add("sra", cost(*r.with, steps)).add("none", cost(*r.without, steps)));
  return over_time;
}

void validate(Runs& r) {
  const std::vector<double> with = r.with->validate(r.settings.validation),
                            without = r.without->validate(r.settings.validation);
  const sra::Estimate a = sra::Estimate::of(with), b = sra::Estimate::of(without),
                      difference = sra::paired_difference(without, with);
  say("validation", sra::text("denoising loss of ", r.settings.validation, " held-out pictures: with SRA ",
                              fixed(a.mean, 4), ", without ", fixed(b.mean, 4)));
  say("", sra::text("paired difference ", fixed(difference.mean, 5), " ± ", fixed(difference.standard_error, 5),
                    " (one standard error)"));
  say("", verdict(difference));
  r.record.add("validation", Record{}
                                 .add("samples", r.settings.validation)
                                 .add("sra", a)
                                 .add("none", b)
                                 .add("sra_minus_none", difference)
                                 .add("verdict", verdict(difference)));
}

void probe(Runs& r) {
  const Pictures fit = real_pictures(r.settings.probed, 21), held = real_pictures(r.settings.probed, 22);
  const auto with = probe(*r.with, fit, held), without = probe(*r.without, fit, held);
  say("probe", "share of shapes that a linear map reads off a block, on pictures it was not fitted to");
  std::vector<double> means[2], errors[2];
  for (std::size_t k = 0; k < with.size(); ++k) {
    say("", sra::text("block ", k + 1, "   with SRA ", percent(with[k]), "   without ", percent(without[k])));
    means[0].push_back(with[k].mean), errors[0].push_back(with[k].standard_error);
    means[1].push_back(without[k].mean), errors[1].push_back(without[k].standard_error);
  }
  r.record.add("probe", Record{}
                            .add("pictures", r.settings.probed)
                            .add("sra", means[0])
                            .add("sra_standard_error", errors[0])
                            .add("none", means[1])
                            .add("none_standard_error", errors[1]));
}

}  // namespace demo
