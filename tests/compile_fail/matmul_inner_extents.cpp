// A matrix product whose inner extents differ.
// SPDX-License-Identifier: MIT
// expect: matmul: a \[B, M, K\] must have as many columns as b \[B, K, N\] has rows
#include "value.hpp"

auto product(Value<4, 5> a, Value<6, 7> b) { return sra::matmul(a, b); }
