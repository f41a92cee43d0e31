// A program compiled with -ffast-math.
// SPDX-License-Identifier: MIT
// expect: sra: expected a program without -ffast-math, its parts and -Ofast
// flags: -ffast-math
#include <sra/core/config.hpp>
