// A shift and a scale of their own for every token, without saying which tokens form a group.
// SPDX-License-Identifier: MIT
// expect: modulated_norm: shift and scale must be per sample, \[B, D\], or grouped, \[B, G, D\]
#include "value.hpp"

auto wrong(Value<16, 64> x, Value<16, 64> shift, Value<16, 64> scale) { return modulated_norm(x, shift, scale); }
