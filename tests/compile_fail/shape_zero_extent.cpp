// A shape with an extent of zero.
// SPDX-License-Identifier: MIT
// expect: Shape: every extent is positive or sra::dynamic
#include <sra/core/shape.hpp>

sra::Shape<0> shape;
