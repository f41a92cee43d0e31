// A table of labels in bf16, of which only products have copies.
// SPDX-License-Identifier: MIT
// expect: embedding: the table is of the context's wide type, as leaf\(\) gives it
#include "value.hpp"

using Narrow = sra::Recording<sra::backend::Cpu, sra::bf16>;
using Labels = sra::View<const std::int32_t, sra::Shape<sra::dynamic>>;

auto look_up(Narrow& c, sra::Var<sra::bf16, sra::Shape<5, 3>, Narrow> table, Labels labels) {
  return sra::embedding(c, table, labels);
}
