// A shape whose batch is not its first extent.
// SPDX-License-Identifier: MIT
// expect: Shape: only the first extent may be sra::dynamic
#include <sra/core/shape.hpp>

sra::Shape<3, sra::dynamic> shape;
