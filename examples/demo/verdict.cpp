// Lets the judge look at samples of both runs and at what must fail, and counts how varied samples are.
// SPDX-License-Identifier: MIT
#include "coverage.hpp"
#include "judge.hpp"
#include "report.hpp"

#include <algorithm>
#include <cstdio>

namespace demo {

namespace {

std::vector<std::int32_t> labels_in_turn(index_t count) {
  std::vector<std::int32_t> labels;
  for (index_t i = 0; i < count; ++i) labels.push_back(static_cast<std::int32_t>(i % 10));
  return labels;
}

/// The same labels in another order: what is right by chance.
std::vector<std::int32_t> shuffled(std::vector<std::int32_t> labels) {
  const sra::Rng rng(31, sra::Purpose::user, 0, 0);
  for (index_t i = std::ssize(labels) - 1; i > 0; --i)
    std::swap(labels[static_cast<std::size_t>(i)], labels[static_cast<std::size_t>(rng.below(i + 1, i))]);
  return labels;
}

Record describe(const Coverage& c, double duplicates) {
  return Record{}
      .add("shapes", c.shapes)
      .add("colours", c.colours)
      .add("places", c.positions)
      .add("combinations", c.combinations)
      .add("median_nearest_distance", c.median_distance)
      .add("near_duplicates", duplicates);
}
void say_coverage(const std::string& label, const std::string& who, const Coverage& c, double duplicates) {
  char line[160];
  std::snprintf(line, sizeof line, "%-12s%4d / 10%8d / 12%6d / 9%14d%13.1f %%", who.c_str(), c.shapes, c.colours,
                c.positions, c.combinations, 100 * duplicates);
  say(label, line);
}

void cover(Runs& r, Judge& judge, const Pictures& with, const Pictures& without) {
  const Pictures real = real_pictures(with.count(), 41);
  const auto of = [&](const Pictures& p) { return coverage(p, judge.classes(p.values)); };
  const Coverage a = of(with), b = of(without), c = of(real);
  const double distance = duplicate_distance(c);
  say("coverage",
      sra::text("            shapes    colours  places  combinations  duplicates   of ", with.count(), " pictures"));
  say_coverage("", "real", c, duplicates(c, distance));
  say_coverage("", "with SRA", a, duplicates(a, distance));
  say_coverage("", "without", b, duplicates(b, distance));
  say("", "duplicates: nearer to another picture than all but one of a hundred real ones");
  r.record.add("coverage", Record{}
                               .add("pictures", with.count())
                               .add("duplicate_distance", distance)
                               .add("real", describe(c, duplicates(c, distance)))
                               .add("sra", describe(a, duplicates(a, distance)))
                               .add("none", describe(b, duplicates(b, distance))));
}

}  // namespace

Pictures judge(Runs& r, const Pictures& untrained, const sra::SignalGuard& signals) {
  Judge judge(r.settings.seed + 1, r.settings.threads);
  if (!judge.train(r.settings.judge_steps, signals)) return {};
  const index_t n = r.settings.judged;
  const Pictures real = real_pictures(1'000, 51), blank = blank_pictures(n, 52);
  const auto labels = labels_in_turn(n), nothing = std::vector<std::int32_t>(static_cast<std::size_t>(n), Judge::none);
  const Pictures with = r.with->sample(labels, 7), without = r.without->sample(labels, 7);
  const auto seen = judge.classes(with.values);
  const sra::Estimate of_real = share(judge.classes(real.values), real.labels), of_with = share(seen, labels),
                      of_without = share(judge.classes(without.values), labels),
                      of_untrained = share(judge.classes(untrained.values), untrained.labels),
                      of_shuffled = share(seen, shuffled(labels)), blanks = share(judge.classes(blank.values), nothing);
  say("judge",
      sra::text("a classifier trained here on fresh pictures: share of samples that show the shape asked for"));
  say("", sra::text("samples with SRA   ", percent(of_with), "   without ", percent(of_without)));
  say("", sra::text("real pictures      ", percent(of_real), "   the judge's own accuracy"));
  say("", sra::text("untrained model    ", percent(of_untrained), "   samples with SRA, labels shuffled ",
                    percent(of_shuffled)));
  say("", sra::text("empty pictures     ", percent(blanks), "   are called empty"));
  r.record.add("judge", Record{}
                            .add("samples", n)
                            .add("guidance", r.settings.guidance)
                            .add("sampler_steps", r.settings.sampler_steps)
                            .add("sra", of_with)
                            .add("none", of_without)
                            .add("real", of_real)
                            .add("untrained", of_untrained)
                            .add("shuffled_labels", of_shuffled)
                            .add("blank_called_none", blanks));
  cover(r, judge, with, without);
  return with;
}

}  // namespace demo
