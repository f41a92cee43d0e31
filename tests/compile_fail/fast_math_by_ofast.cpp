// A program compiled with -Ofast, which is -O3 with -ffast-math.
// SPDX-License-Identifier: MIT
// expect: sra: expected a program without -ffast-math, its parts and -Ofast
// flags: -Ofast
#include <sra/core/config.hpp>
