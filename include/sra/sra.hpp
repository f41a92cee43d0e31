// The whole library: everything that needs nothing but C++20, Eigen and threads.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/error.hpp>
#include <sra/core/shape.hpp>
#include <sra/core/view.hpp>
