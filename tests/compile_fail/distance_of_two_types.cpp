// The distance of tokens in bf16 from tokens in float.
// SPDX-License-Identifier: MIT
// expect: cosine_features, cosine_tokens: a and b must be of one type
#include "value.hpp"

using Narrow = sra::Recording<sra::backend::Cpu, sra::bf16>;
using Tokens = sra::Shape<sra::dynamic, 16, 48>;

auto distance(sra::Var<sra::bf16, Tokens, Narrow> a, sra::Var<float, Tokens, Narrow> b) {
  return sra::cosine_tokens(a, b);
}
