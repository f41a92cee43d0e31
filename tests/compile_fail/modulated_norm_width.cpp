// A modulated norm whose shift and scale are too wide.
// SPDX-License-Identifier: MIT
// expect: modulated_norm: shift and scale must have the width of x
#include "value.hpp"

auto normalise(Value<16, 48> x, Value<64> shift, Value<64> scale) { return sra::modulated_norm(x, shift, scale); }
