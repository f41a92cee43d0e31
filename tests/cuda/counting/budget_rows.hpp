// The budget of a training step on a GPU, kernel by kernel, as formulas; and what a counted step has in each of its rows.
// SPDX-License-Identifier: MIT
#pragma once

#include "counted_step.hpp"

#include <array>
#include <cmath>
#include <cstddef>
#include <string>
#include <vector>

namespace counting {

/// Rows of the budget.
enum class Row {
  teacher_norms,
  teacher_qkv,
  teacher_proj,
  teacher_fc1,
  teacher_fc2,
  teacher_attention,
  norms,
  qkv,
  proj,
  fc1,
  fc2,
  attention,
  fc2_dgrad,
  fc_wgrad,
  fc1_dgrad,
  proj_dgrad,
  proj_wgrad,
  qkv_dgrad,
  qkv_wgrad,
  attention_backward,
  norms_backward,
  modulation,
  teacher_modulation,
  modulation_dgrad,
  modulation_wgrad,
  modulation_rest,
  head_forward,
  head_dgrad,
  head_wgrad,
  distance,
  ends,
  gradient_norm,
  update,
  count
};
inline constexpr std::array row_names{"teacher: residual + norm + modulation",
                                      "teacher: qkv",
                                      "teacher: proj",
                                      "teacher: fc1 + GELU",
                                      "teacher: fc2",
                                      "teacher: attention",
                                      "student: residual + norm + modulation",
                                      "student: qkv",
                                      "student: proj",
                                      "student: fc1 + GELU",
                                      "student: fc2",
                                      "student: attention",
                                      "backward: fc2 dgrad + GELU'",
                                      "backward: fc2 and fc1 wgrad",
                                      "backward: fc1 dgrad",
                                      "backward: proj dgrad",
                                      "backward: proj wgrad",
                                      "backward: qkv dgrad",
                                      "backward: qkv wgrad",
                                      "backward: attention",
                                      "backward: norm + modulation + gate",
                                      "adaLN: forward",
                                      "adaLN: teacher",
                                      "adaLN: dgrad",
                                      "adaLN: wgrad",
                                      "adaLN: casts, zeros, sums",
                                      "head: forward with SiLU",
                                      "head: dgrad with SiLU'",
                                      "head: wgrad",
                                      "distance, forward and backward",
                                      "ends: embeddings, draws, final layer, losses",
                                      "update: gradient norm",
                                      "update: AdamW, averages, casts"};
static_assert(row_names.size() == static_cast<std::size_t>(Row::count));

/// What a row costs in all.
struct RowCost {
  long launches = 0;
  double flops = 0, bytes = 0;
};
using Rows = std::array<RowCost, static_cast<std::size_t>(Row::count)>;

/// Sizes as the budget writes them, all as numbers to calculate with.
struct Sizes {
  double B, T, D, H, L, N, ND, DD, P;  ///< batch, tokens of an image, width, heads, depth, rows, N D, D², parameters
  long blocks, teacher;                ///< L, and the teacher's block

  explicit Sizes(const CountedStep& s)
      : B(double(s.batch)),
        T(s.config.tokens()),
        D(s.config.hidden),
        H(s.config.heads),
        L(s.config.depth),
        N(B * T),
        ND(N * D),
        DD(D * D),
        P(double(s.parameters)),
        blocks(s.config.depth),
        teacher(sra::default_teacher_layer(s.config.depth)) {}
  /// Blocks of threads that make sums in a norm's backward pass, see norm_backward.
  double blocks_of_norms() const { return B * std::floor(528 / B); }
};

/// The budget: bf16 activations and residual stream, float gradients of weights, every fusion that it plans.
inline Rows budget(const Sizes& s) {
  Rows all{};
  const auto row = [&](Row r, long launches, double flops, double bytes) {
    all[static_cast<std::size_t>(r)] = {launches, double(launches) * flops, double(launches) * bytes};
  };
  // A product of N rows and `weights` D² numbers that moves `elements` N D numbers; its weight or float gradient beside.
  const auto product = [&](Row r, long launches, double weights, double bytes, double of_weight) {
    row(r, launches, 2 * weights * s.N * s.DD, bytes * s.ND + of_weight * weights * s.DD);
  };
  const double forward = 4 * s.T * s.ND, lse = 8 * s.N * s.H;  // lse and a second number a row and head
  const long L = s.blocks, T = s.teacher;
  row(Row::teacher_norms, 2 * T, 0, 8 * s.ND);
  product(Row::teacher_qkv, T, 3, 8, 2);
  product(Row::teacher_proj, T, 1, 4, 2);
  product(Row::teacher_fc1, T, 4, 10, 2);
  product(Row::teacher_fc2, T, 4, 10, 2);
  row(Row::teacher_attention, T, forward, 8 * s.ND + lse / 2);
  row(Row::norms, 2 * L, 0, 8 * s.ND);
  product(Row::qkv, L, 3, 8, 2);
  product(Row::proj, L, 1, 4, 2);
  product(Row::fc1, L, 4, 18, 2);
  product(Row::fc2, L, 4, 10, 2);
  row(Row::attention, L, forward, 8 * s.ND + lse / 2);
  product(Row::fc2_dgrad, L, 4, 18, 2);
  product(Row::fc_wgrad, 2 * L, 4, 10, 4);
  product(Row::fc1_dgrad, L, 4, 10, 2);
  product(Row::proj_dgrad, L, 1, 4, 2);
  product(Row::proj_wgrad, L, 1, 4, 4);
  product(Row::qkv_dgrad, L, 3, 8, 2);
  product(Row::qkv_wgrad, L, 3, 8, 4);
  row(Row::attention_backward, L, 2.5 * forward, 16 * s.ND + lse);
  row(Row::norms_backward, 2 * L, 0, 12 * s.ND);
  const double student = 6 * s.L + 2, of_teacher = 6 * double(T);  // widths of all modulations together, in D
  const auto adaln = [&](Row r, double width, double of_weight) {
    row(r, 1, 2 * width * s.B * s.DD, 2 * width * s.B * s.D + of_weight * width * s.DD);
  };
  adaln(Row::modulation, student, 2);
  adaln(Row::teacher_modulation, of_teacher, 2);
  adaln(Row::modulation_dgrad, student, 2);
  adaln(Row::modulation_wgrad, student, 4);
  product(Row::head_forward, 2, 2, 8, 2);  // 10 with what SiLU keeps, and 6
  product(Row::head_dgrad, 2, 2, 8, 2);
  product(Row::head_wgrad, 2, 2, 6, 4);
  row(Row::distance, 1, 0, 10 * s.ND);
  row(Row::ends, 1, 0, 18 * s.ND);
  row(Row::gradient_norm, 1, 0, 4 * s.P);
  row(Row::update, 1, 0, 40 * s.P);
  return all;
}

/// Sorts launches into rows, in the order in which they came.
class Sorter {
 public:
  explicit Sorter(const Sizes& s) : s_(s) {}

  Row operator()(const Launch& l) {
    if (l.part != part_) in_blocks_ = false;
    part_ = l.part;
    if (l.name == "cosine_forward" || l.name == "cosine_backward") return Row::distance;
    const double tokens = l.cost.flops / (s_.N * s_.DD), samples = l.cost.flops / (s_.B * s_.DD);
    switch (l.part) {
      case Part::student:
        return forward(l, tokens, samples, 0);
      case Part::teacher:
        return forward(l, tokens, samples, static_cast<int>(Row::norms) - static_cast<int>(Row::teacher_norms));
      case Part::head:
        return head(l, tokens);
      case Part::backward:
        return backward(l, tokens, samples);
      default:
        return l.name == "gradient_norm" ? Row::gradient_norm : l.name == "update_parameters" ? Row::update : Row::ends;
    }
  }

 private:
  /// @param tokens, samples FLOPs over those of D² numbers and all tokens, or all samples
  Row forward(const Launch& l, double tokens, double samples, int back) {
    const auto row = [&](Row r) { return static_cast<Row>(static_cast<int>(r) - back); };
    if (l.name == "linear_bank_forward") {
      in_blocks_ = true;
      return back ? Row::teacher_modulation : Row::modulation;
    }
    if (samples == 4 && !back) in_blocks_ = false;  // the final layer's modulation
    if (samples == 4) return Row::modulation;
    if (!in_blocks_) return Row::ends;
    if (tokens == 6) return row(Row::qkv);
    if (tokens == 2) return row(Row::proj);
    if (tokens == 8) return row(l.name == "linear_gelu_forward" ? Row::fc1 : Row::fc2);
    if (l.name == "attention_forward") return row(Row::attention);
    return l.cost.bytes > s_.ND ? row(Row::norms) : Row::ends;
  }
  Row head(const Launch& l, double tokens) const {
    return tokens == 4 || l.cost.bytes > s_.ND ? Row::head_forward : Row::ends;
  }
  Row backward(const Launch& l, double tokens, double samples) {
    const bool weight = l.name == "linear_backward_weight";
    // The last block's gate is the first whose gradient is made.
    if (l.name == "zero_memory" && l.cost.bytes == 4 * 6 * s_.L * s_.B * s_.D) return Row::modulation_rest;
    if (samples == 4) {  // the final layer's modulation: then come the blocks
      in_blocks_ = in_blocks_ || weight;
      return weight ? Row::modulation_wgrad : Row::modulation_dgrad;
    }
    if (samples == 12 * s_.L) {
      in_blocks_ = in_blocks_ && !weight;
      return weight ? Row::modulation_wgrad : Row::modulation_dgrad;
    }
    if (tokens == 4) return weight ? Row::head_wgrad : Row::head_dgrad;
    if (!in_blocks_) return l.name == "pointwise_backward" && l.cost.bytes > s_.ND ? Row::head_dgrad : Row::ends;
    if (tokens == 6) return weight ? Row::qkv_wgrad : Row::qkv_dgrad;
    if (tokens == 2) return weight ? Row::proj_wgrad : Row::proj_dgrad;
    if (tokens == 8) return weight ? Row::fc_wgrad : l.name == "linear_gelu_backward" ? Row::fc2_dgrad : Row::fc1_dgrad;
    if (l.name == "attention_backward") {
      ++blocks_done_;
      return Row::attention_backward;
    }
    const bool cast = l.name == "deposit" && double(blocks_done_) == s_.L;
    const bool of_bank = cast || l.name == "sum_layers";
    return of_bank ? Row::modulation_rest : Row::norms_backward;
  }

  Sizes s_;
  Part part_ = Part::student;
  bool in_blocks_ = false;
  long blocks_done_ = 0;
};

/// A counted step by rows; launches are what the device is told to start.
inline Rows rows_of(const CountedStep& step) {
  Rows all{};
  Sorter sort{Sizes(step)};
  for (const Launch& l : step.launches) {
    RowCost& row = all[static_cast<std::size_t>(sort(l))];
    row.launches += l.started.all();
    row.flops += l.cost.flops;
    row.bytes += l.cost.bytes;
  }
  return all;
}

inline RowCost total(const Rows& rows) {
  RowCost sum;
  for (const RowCost& r : rows) sum.launches += r.launches, sum.flops += r.flops, sum.bytes += r.bytes;
  return sum;
}

}  // namespace counting
