// A shape with a negative extent that is not sra::dynamic.
// SPDX-License-Identifier: MIT
// expect: Shape: every extent is positive or sra::dynamic
#include <sra/core/shape.hpp>

sra::Shape<4, -3> shape;
