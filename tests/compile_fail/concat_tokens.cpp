// Columns of values with different numbers of tokens.
// SPDX-License-Identifier: MIT
// expect: concat: the operands must agree in all extents but the last
#include "value.hpp"

auto join(Value<16, 48> a, Value<8, 48> b) { return sra::concat(a, b); }
