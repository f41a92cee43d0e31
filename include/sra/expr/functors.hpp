// Pointwise maths, value and derivative, once for both backends; branch-free, so that compilers vectorise it.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/expr/maths.hpp>

namespace sra {

/// N scalars side by side: what a pullback of N operands returns.
template <class T, int N>
struct Values {
  T v[N];
};

/// x + y.
struct Add {
  SRA_FN static auto value(auto x, auto y) { return x + y; }
  template <class T>
  SRA_FN static Values<T, 2> pull(T dy, T, T) {
    return {{dy, dy}};
  }
};

/// x − y.
struct Subtract {
  SRA_FN static auto value(auto x, auto y) { return x - y; }
  template <class T>
  SRA_FN static Values<T, 2> pull(T dy, T, T) {
    return {{dy, -dy}};
  }
};

/// x y.
struct Multiply {
  SRA_FN static auto value(auto x, auto y) { return x * y; }
  template <class T>
  SRA_FN static Values<T, 2> pull(T dy, T x, T y) {
    return {{dy * y, dy * x}};
  }
};

/// x / y.
struct Divide {
  SRA_FN static auto value(auto x, auto y) { return x / y; }
  template <class T>
  SRA_FN static Values<T, 2> pull(T dy, T x, T y) {
    const T r = T(1) / y;
    return {{dy * r, -dy * x * r * r}};
  }
};

/// −x.
struct Negate {
  SRA_FN static auto value(auto x) { return -x; }
  SRA_FN static auto pull(auto dy, auto) { return -dy; }
};

/// x².
struct Square {
  SRA_FN static auto value(auto x) { return x * x; }
  SRA_FN static auto pull(auto dy, auto x) { return dy * (x + x); }
};

/// |x|.  Derivative at 0: 0, as in PyTorch.
struct Abs {
  SRA_FN static auto value(auto x) { return maths::abs(x); }
  template <class T>
  SRA_FN static T pull(T dy, T x) {
    return dy * maths::select(x > 0, T(1), maths::select(x < 0, T(-1), T(0)));
  }
};

/// eˣ.
struct Exp {
  SRA_FN static auto value(auto x) { return maths::exp(x); }
  SRA_FN static auto pull(auto dy, auto x) { return dy * maths::exp(x); }
};

/// tanh x.
struct Tanh {
  SRA_FN static auto value(auto x) { return maths::tanh(x); }
  SRA_FN static auto pull(auto dy, auto x) { return dy * maths::tanh_slope(x); }
};

/// σ(x) = 1 / (1 + e⁻ˣ).
struct Sigmoid {
  SRA_FN static auto value(auto x) { return maths::sigmoid(x); }
  SRA_FN static auto pull(auto dy, auto x) { return dy * maths::sigmoid_slope(x); }
};

/// silu(x) = x σ(x).  Derivative: σ(x) (1 + x (1 − σ(x))).   Elfwing et al. 2017, arXiv:1702.03118.
struct Silu {
  SRA_FN static auto value(auto x) { return maths::silu(x); }
  SRA_FN static auto pull(auto dy, auto x) { return dy * maths::silu_slope(x); }
};

/// gelu(x) = x/2 (1 + tanh(√(2/π) (x + 0.044715 x³))), the tanh form.   Hendrycks and Gimpel 2016, arXiv:1606.08415.
struct Gelu {
  SRA_FN static auto value(auto x) { return maths::gelu(x); }
  SRA_FN static auto pull(auto dy, auto x) { return dy * maths::gelu_slope(x); }
};

/// Smooth L1 of a difference d with threshold β: d²/(2β) if |d| < β, else |d| − β/2.   Girshick 2015, arXiv:1504.08083.
struct SmoothAbs {
  template <class T>
  SRA_FN static T value(T d, T beta) {
    const T a = maths::abs(d);
    return maths::select(a < beta, d * d / (beta + beta), a - beta / 2);
  }
  template <class T>
  SRA_FN static Values<T, 2> pull(T dy, T d, T beta) {
    const T r = d / beta;
    const T low = maths::select(r < T(-1), T(-1), r);
    const T slope = maths::select(low > T(1), T(1), low);
    return {{dy * slope, dy * T(0)}};  // β is a constant of the loss, never differentiated
  }
};

}  // namespace sra
