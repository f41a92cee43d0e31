// A backward pass from a value that was not recorded.
// SPDX-License-Identifier: MIT
// expect: backward: the value must come from a Recording context
#include "value.hpp"

void differentiate(Quiet<1> loss) { sra::backward(loss); }
