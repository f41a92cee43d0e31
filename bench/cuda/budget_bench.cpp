// Prints what a training step tells a GPU beside the budget, kernel by kernel; counted, so that no GPU takes part.
// SPDX-License-Identifier: MIT
#include "../../tests/cuda/counting/budget_rows.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <numeric>
#include <string>
#include <vector>

namespace {

using namespace counting;

/// Ceilings that the budget calculates with: TFLOP/s of bf16 products, TB/s of copies.
constexpr double products = 785, copies = 4.3;

double milliseconds(double flops, double bytes) { return std::max(flops / products, bytes / copies) / 1e9; }

/// A step beside its budget.
struct Compared {
  std::string model;
  CountedStep step;
  Rows page, ours;

  Compared(const char* name, CountedStep s)
      : model(name), step(std::move(s)), page(budget(Sizes(step))), ours(rows_of(step)) {}
  /// The least time of all kernels, each by its larger limit.
  double floor() const {
    double ms = 0;
    for (const Launch& l : step.launches) ms += milliseconds(l.cost.flops, l.cost.bytes);
    return ms;
  }
  double budgeted_floor() const {
    double ms = 0;
    for (const RowCost& r : page) ms += milliseconds(r.flops, r.bytes);
    return ms;
  }
};

/// Why a row differs, or "".
const char* reason(Row r) {
  switch (r) {
    case Row::teacher_norms:
      return "a block's last line `x + gate2 y2` is a kernel of its own, the next norm reads x again, and the result "
             "is "
             "copied";
    case Row::norms_backward:
      return "partial sums of dshift, dscale and dgate; the gradient of the head's features is added by a kernel";
    case Row::ends:
      return "each embedding, draw, cast and loss is a kernel; the first line of the residual stream, the last block's "
             "sum and norm";
    case Row::modulation_rest:
      return "modulations and their gradients are float: zeros, casts, and the sum of the layers' gradients by the "
             "condition";
    case Row::head_forward:
    case Row::head_dgrad:
      return "SiLU is a kernel of its own";
    case Row::modulation:
    case Row::teacher_modulation:
      return "modulations are float";
    case Row::distance:
      return "forward and backward are kernels, and so are the means of samples";
    case Row::gradient_norm:
      return "sums of chunks, their sum, and its copy to the host";
    default:
      return "";
  }
}

void totals(const std::vector<Compared>& all) {
  std::puts(
      "| model | batch | TFLOP: budget | program | GB: budget | program | launches: budget | program | floor, ms: "
      "budget "
      "| program | memory, GB |\n|---|---|---|---|---|---|---|---|---|---|---|");
  for (const Compared& c : all) {
    const RowCost page = total(c.page), ours = total(c.ours);
    std::printf("| %s | %ld | %.2f | %.2f | %.1f | %.1f | %ld | %ld | %.1f | %.1f | %.1f |\n", c.model.c_str(),
                static_cast<long>(c.step.batch), page.flops / 1e12, ours.flops / 1e12, page.bytes / 1e9,
                ours.bytes / 1e9, page.launches, ours.launches, c.budgeted_floor(), c.floor(),
                static_cast<double>(c.step.memory.total()) / 1e9);
  }
}

/// One model at both batches.
void kernels(const Compared& large, const Compared& small) {
  std::printf("\n## %s, kernel by kernel\n\n", large.model.c_str());
  std::printf(
      "| kernel | launches: budget | program | TFLOP at %ld: budget | program | GB at %ld: budget | program | GB "
      "at %ld: budget | program |\n|---|---|---|---|---|---|---|---|---|\n",
      static_cast<long>(large.step.batch), static_cast<long>(large.step.batch), static_cast<long>(small.step.batch));
  for (std::size_t i = 0; i < row_names.size(); ++i)
    std::printf("| %s | %ld | %ld | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", row_names[i], large.page[i].launches,
                large.ours[i].launches, large.page[i].flops / 1e12, large.ours[i].flops / 1e12,
                large.page[i].bytes / 1e9, large.ours[i].bytes / 1e9, small.page[i].bytes / 1e9,
                small.ours[i].bytes / 1e9);
}

/// The rows that differ most by `more`, with why.
template <class F>
void gaps(const char* unit, const char* format, const F& more) {
  std::vector<std::size_t> order(row_names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return more(a) > more(b); });
  std::printf("| kernel | %s more than the budget | why |\n|---|---|---|\n", unit);
  for (std::size_t n = 0; n < 5; ++n) {
    std::printf("| %s | ", row_names[order[n]]);
    std::printf(format, more(order[n]));
    std::printf(" | %s |\n", reason(static_cast<Row>(order[n])));
  }
  std::puts("");
}

}  // namespace

int main() {
  const std::vector<Compared> all{{"XL/2", count_step<sra::sit_xl_2>(256)}, {"XL/2", count_step<sra::sit_xl_2>(64)},
                                  {"B/2", count_step<sra::sit_b_2>(256)},   {"B/2", count_step<sra::sit_b_2>(64)},
                                  {"S/2", count_step<sra::sit_s_2>(256)},   {"S/2", count_step<sra::sit_s_2>(64)}};
  std::puts(
      "# A training step on a GPU, counted\n\n"
      "`scripts/bench cuda/budget`.  Counted, not measured: the CUDA backend's own code runs one step with SRA in "
      "bf16, but\n"
      "nothing is allocated or computed; every launch says its FLOPs and the bytes that it must move at least, and "
      "kernels,\n"
      "products, copies and memsets are counted where the toolkit would be called.  The budget is what a step needs "
      "with every\n"
      "fusion that was planned.  Products count as one launch each, though the library may split one into two kernels, "
      "and as\n"
      "if it had every epilogue.  The floor is the sum over kernels of the larger of FLOPs / 785 TFLOP/s and bytes / "
      "4.3 TB/s.\n"
      "Memory is what a trainer plans before it allocates.  `tests/cuda/budget_test.cpp` holds every difference to a "
      "formula.\n");
  totals(all);
  const Compared& xl = all[0];
  std::printf(
      "\nA replayed step of XL/2 is %ld kernels, %ld products, %ld copies and %ld memsets.\n\n## Largest gaps at XL/2, "
      "batch %ld\n\n",
      xl.step.replayed.kernels, xl.step.replayed.products, xl.step.replayed.copies, xl.step.replayed.zeros,
      static_cast<long>(xl.step.batch));
  gaps("GB", "%.2f", [&](std::size_t i) { return (xl.ours[i].bytes - xl.page[i].bytes) / 1e9; });
  gaps("launches", "%ld", [&](std::size_t i) { return xl.ours[i].launches - xl.page[i].launches; });
  for (std::size_t i = 0; i < all.size(); i += 2) kernels(all[i], all[i + 1]);
}
