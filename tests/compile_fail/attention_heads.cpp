// Attention with a number of heads that does not divide the width.
// SPDX-License-Identifier: MIT
// expect: attention<Heads>: the width must be a multiple of Heads
#include "value.hpp"

auto attend(Value<16, 48> q, Value<16, 48> k, Value<16, 48> v) { return sra::attention<5>(q, k, v); }
