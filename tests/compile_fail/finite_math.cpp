// A program compiled with one part of -ffast-math.
// SPDX-License-Identifier: MIT
// expect: sra: expected a program without -ffast-math, its parts and -Ofast
// flags: -ffinite-math-only
#include <sra/core/config.hpp>
