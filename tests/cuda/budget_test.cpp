// Holds what the program tells the device in a training step against the budget, kernel by kernel, by counting alone.
// SPDX-License-Identifier: MIT
#include "counting/budget_rows.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

using namespace counting;

namespace {

/// A published total: TFLOP and GB as the budget prints them, and all its launches.
struct Published {
  CountedStep step;
  double tflop, gb;
  long launches;
};

const std::vector<Published>& steps() {
  static const std::vector<Published> all{
      {count_step<sra::sit_xl_2>(256), 228.7, 499, 658}, {count_step<sra::sit_xl_2>(64), 57.2, 152, 658},
      {count_step<sra::sit_b_2>(256), 44.4, 140, 286},   {count_step<sra::sit_b_2>(64), 11.1, 40, 286},
      {count_step<sra::sit_s_2>(256), 11.8, 68, 286},    {count_step<sra::sit_s_2>(64), 2.9, 18, 286}};
  return all;
}

/// Equal but for the rounding of some hundred sums in double.
bool same(double a, double b) { return std::abs(a - b) <= 1e-12 * std::max(std::abs(a), std::abs(b)); }

/// FLOPs that step_flops leaves out: the ends of the model, the distance and the norm of the gradient.
double flops_beside(const Sizes& s) {
  const double patch = 16, frequencies = 256;  // numbers of a patch, of an embedded time
  const double ends =
      2 * s.N * patch * s.D * (3 + 3);           // patches: student, its gradient, teacher; last layer three times
  const double modulation = 4 * s.B * s.DD * 3;  // of the last layer
  const double times = 2 * s.B * (3 * frequencies * s.D + 4 * s.DD);  // two layers: student, teacher, gradients
  return ends + modulation + times + 12 * s.ND + 2 * s.P;
}

/// What a row has more than the budget's, and why.
Rows differences(const Sizes& s) {
  Rows more{};
  const auto row = [&](Row r, double launches, double bytes) {
    more[static_cast<std::size_t>(r)] = {static_cast<long>(launches), 0, bytes};
  };
  const double BD = s.B * s.D, T = double(s.teacher), L = s.L;
  const double blocks = s.blocks_of_norms();
  // The teacher's last line of a block is a kernel of its own (reads x, y2 and a gate, writes x), so that the next norm reads x
  // again; in the end its feature is copied.  The student's first norm has nothing to add.
  row(Row::teacher_norms, T + 1, T * (2 * s.ND + 4 * BD) + 4 * s.ND);
  row(Row::norms, 0, -4 * s.ND);
  // The log-sum-exp, 4 bytes a row and head, and a second number backward are not counted.
  row(Row::teacher_attention, 0, -4 * T * s.N * s.H);
  row(Row::attention, 0, -4 * L * s.N * s.H);
  row(Row::attention_backward, 0, -8 * L * s.N * s.H);
  // Blocks leave partial sums of dshift, dscale and dgate, which the last of a sample reads; the gradient of the head's features
  // is added in one block.  The first norm has no branch, and all of dx but its own part is there before: 8 ND.
  row(Row::norms_backward, 1, L * 24 * blocks * s.D + (8 - 12 + 6) * s.ND);
  // Modulations and their gradients are float, casts and zeros passes of their own; gradients by the condition are made for each
  // layer and added up; the last layer's modulation is apart; and the condition's vector is read.
  const double width = 6 * L + 2;
  row(Row::modulation, 1, 2 * width * BD + 4 * BD);
  row(Row::teacher_modulation, 0, 2 * 6 * T * BD + 2 * BD);
  row(Row::modulation_dgrad, 1, 4 * L * BD + 4 * BD);
  row(Row::modulation_wgrad, 1, 4 * BD);
  row(Row::modulation_rest, 4, (4 + 6) * 6 * L * BD + (4 * L + 8) * BD + 6 * BD);
  // SiLU of the head, forward and backward, is a kernel of its own: 8 ND for 4, 12 ND for 4.
  row(Row::head_forward, 1, 4 * s.ND);
  row(Row::head_dgrad, 1, 8 * s.ND);
  row(Row::distance, 2, 0);       // means of samples; forward and backward
  row(Row::gradient_norm, 2, 0);  // chunks, their sum, and the copy to the host
  row(Row::update, 1, 0);         // the position embedding, which is only averaged, apart
  return more;
}

template <class F>
void each_row(const Published& p, const F& f) {
  const Sizes s(p.step);
  const Rows page = budget(s), ours = rows_of(p.step), more = differences(s);
  for (std::size_t i = 0; i < page.size(); ++i)
    if (static_cast<Row>(i) != Row::ends)
      BOOST_TEST_CONTEXT(row_names[i] << " at width " << s.D << ", batch " << s.B) f(page[i], ours[i], more[i]);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(budget_of_a_step)

BOOST_AUTO_TEST_CASE(formulas_give_the_published_totals) {
  for (const Published& p : steps()) {
    const Sizes s(p.step);
    const RowCost page = total(budget(s));
    BOOST_TEST(std::abs((page.flops + flops_beside(s)) / 1e12 - p.tflop) <= 0.05);
    BOOST_TEST(std::abs(page.bytes / 1e9 - p.gb) <= 0.5);
    BOOST_TEST(page.launches == p.launches);
  }
}

BOOST_AUTO_TEST_CASE(flops_are_step_flops_and_those_of_the_ends) {
  for (const Published& p : steps()) {
    const Sizes s(p.step);
    const double formula = sra::step_flops(p.step.config, s.B, static_cast<int>(s.teacher), true) + flops_beside(s);
    BOOST_TEST(same(p.step.cost().flops, formula), p.step.cost().flops << " instead of " << formula);
  }
}

BOOST_AUTO_TEST_CASE(flops_of_every_kernel_are_the_budgets) {
  for (const Published& p : steps())
    each_row(p, [](const RowCost& page, const RowCost& ours, const RowCost&) {
      if (page.flops > 0) BOOST_TEST(same(ours.flops, page.flops), ours.flops << " instead of " << page.flops);
    });
}

BOOST_AUTO_TEST_CASE(bytes_of_every_kernel_are_the_budgets_but_for_what_is_not_fused) {
  for (const Published& p : steps())
    each_row(p, [](const RowCost& page, const RowCost& ours, const RowCost& more) {
      BOOST_TEST(same(ours.bytes, page.bytes + more.bytes), ours.bytes << " instead of " << page.bytes + more.bytes);
    });
}

BOOST_AUTO_TEST_CASE(bytes_of_the_ends_are_those_of_few_kernels) {
  for (const Published& p : steps()) {
    const Sizes s(p.step);
    Sorter sort(s);
    double large = 0, small = 0;
    for (const Launch& l : p.step.launches)
      if (sort(l) == Row::ends) (l.cost.bytes > s.ND ? large : small) += l.cost.bytes;
    const double product = 2 * s.ND + 32 * s.N;  // patches of 16 numbers to tokens, or back
    const double products = 6 * product + 32 * s.D * (1 + 1 + 2 + 1 + 1 + 2);  // weights, and two float gradients
    const double lines = 2 * (4 * s.ND + 4 * s.T * s.D);                       // + position
    // The last block's sum and its norm, both ways; the sum's gradient is zeroed before.
    const double norm = (8 + 10 + 2) * s.ND + 12 * s.blocks_of_norms() * s.D;
    const double all = products + lines + norm;
    BOOST_TEST(same(large, all), large << " instead of " << all);
    // The rest: no more than 32 passes over images, 64 over values of samples, and the embeddings' tables and weights.
    const double images = 64 * s.N, values = 4 * s.B * s.D, parameters = 4 * 1001 * s.D + 12 * s.DD;
    BOOST_TEST(small <= 32 * images + 64 * values + parameters);
  }
}

BOOST_AUTO_TEST_CASE(launches_of_every_kernel_are_the_budgets_but_for_what_is_not_fused) {
  for (const Published& p : steps()) {
    each_row(p, [](const RowCost& page, const RowCost& ours, const RowCost& more) {
      BOOST_TEST(ours.launches == page.launches + more.launches);
    });
    const Sizes s(p.step);
    const long of_blocks = (7 + 11) * s.blocks + 8 * s.teacher;
    BOOST_TEST(p.step.started().all() == of_blocks + 113);
    BOOST_TEST_MESSAGE("width " << s.D << ": " << p.step.started().all() << " launches, the budget has " << p.launches);
  }
}

BOOST_AUTO_TEST_CASE(a_replayed_step_has_the_same_kernels_and_products) {
  for (const Published& p : steps()) {
    const Started all = p.step.started();
    BOOST_TEST(p.step.replayed.kernels == all.kernels + 1);  // the device decides by the norm
    BOOST_TEST(p.step.replayed.products == all.products);
    BOOST_TEST(p.step.replayed.zeros == all.zeros);
    BOOST_TEST(p.step.replayed.copies <= all.copies + 2);  // what two graphs read and what they found
  }
}

BOOST_AUTO_TEST_SUITE_END()
