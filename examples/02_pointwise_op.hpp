// A function of one number that the library lacks.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

namespace lab {

/// x / (1 + |x|).  Derivative: 1 / (1 + |x|)².  SRA_FN: under nvcc it also runs on the GPU.
struct Softsign {
  template <class T>
  SRA_FN static T value(T x) {
    return x / (T(1) + sra::maths::abs(x));
  }
  template <class T>
  SRA_FN static T pull(T dy, T x) {
    const T r = T(1) / (T(1) + sra::maths::abs(x));
    return dy * r * r;
  }
};

}  // namespace lab
