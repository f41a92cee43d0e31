// An expression with every function, compiled without any flag but -O2, for vectorised_test.sh to look at.
// SPDX-License-Identifier: MIT
#include <sra/cpu/memory.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/expr/pointwise.hpp>

using Context = sra::Recording<sra::Cpu, float>;
using X = sra::Var<float, sra::Shape<sra::dynamic, 16, 96>, Context>;
using Row = sra::Var<float, sra::Shape<sra::dynamic, 96>, Context>;

X forward(X x, Row scale) {
  return gelu(x) * tanh(scale) + silu(x) * exp(-abs(x)) / (1 + square(x)) -
         sigmoid(x) * sra::map<sra::SmoothAbs>(x, 0.5);
}
void backward(X y) { sra::backward(y); }
