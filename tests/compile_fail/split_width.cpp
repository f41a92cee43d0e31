// A split into parts of unequal width.
// SPDX-License-Identifier: MIT
// expect: split<N>: the last extent must be a multiple of N
#include "value.hpp"

auto parts(Value<16, 50> qkv) { return sra::split<3>(qkv); }
