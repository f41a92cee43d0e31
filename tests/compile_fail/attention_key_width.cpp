// Attention to keys that are wider than the queries.
// SPDX-License-Identifier: MIT
// expect: attention: k and v must have one shape, as wide as q
#include "value.hpp"

auto attend(Value<16, 48> q, Value<16, 64> k, Value<16, 64> v) { return sra::attention<4>(q, k, v); }
