// A parameter with an extent that is only known at run time.
// SPDX-License-Identifier: MIT
// expect: Param: extents are static
#include <sra/nn/param.hpp>

sra::Param<sra::dynamic, 3> parameter;
