// The second translation unit of the program: everything that a header defines is defined here again.
// SPDX-License-Identifier: MIT
#include "train.hpp"

namespace two_units {

double trained_elsewhere() { return trained(); }

}  // namespace two_units
