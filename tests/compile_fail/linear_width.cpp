// A linear layer on an input of another width.
// SPDX-License-Identifier: MIT
// expect: Linear<In, Out>: the last extent of the input must equal In
#include "value.hpp"

auto project(const sra::Linear<64, 32>& layer, Value<16, 48> x) { return layer(x); }
