// Control: shapes as they must be.
// SPDX-License-Identifier: MIT
// expect-ok
#include <sra/core/shape.hpp>

sra::Shape<3> fixed;
sra::Shape<sra::dynamic, 3> batched;
