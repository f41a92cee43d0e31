// The larger of two errors, for tests: NaN is larger than everything and stays.
// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>

inline double worse(double worst, double error) { return std::isnan(worst) || error <= worst ? worst : error; }
