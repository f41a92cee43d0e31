// A sum of values that do not broadcast to each other.
// SPDX-License-Identifier: MIT
// expect: pointwise: every operand has the destination's shape or broadcasts to it
#include "value.hpp"

auto sum(Value<16, 48> x, Value<64> shift) { return sra::eval(x + shift); }
