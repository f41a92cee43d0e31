// The second translation unit of the program: what headers define is defined here again, the model's passes here alone.
// SPDX-License-Identifier: MIT
#include "train.hpp"

SRA_INSTANTIATE(two_units::Model);

namespace two_units {

double trained_elsewhere() { return trained(); }

}  // namespace two_units
