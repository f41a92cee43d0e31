// Compiles the passes of the model, which take most of the time and do not change with the alignment.
// SPDX-License-Identifier: MIT
#include "model.hpp"

SRA_INSTANTIATE(Model);
