// Control: operations on shapes as they must be.
// SPDX-License-Identifier: MIT
// expect-ok
#include "value.hpp"

auto product(Value<4, 5> a, Value<5, 7> b) { return sra::matmul(a, b); }
auto project(const sra::Linear<48, 32>& layer, Value<16, 48> x) { return layer(x); }
auto normalise(Value<16, 48> x, Value<48> shift, Value<48> scale) { return sra::modulated_norm(x, shift, scale); }
auto attend(Value<16, 48> q, Value<16, 48> k, Value<16, 48> v) { return sra::attention<4>(q, k, v); }
auto parts(Value<16, 48> qkv) { return sra::split<3>(qkv); }
auto join(Value<16, 48> a, Value<16, 8> b) { return sra::concat(a, b); }
auto sum(Value<16, 48> x, Value<48> shift) { return sra::eval(x + shift); }
void differentiate(Value<1> loss) { sra::backward(loss); }
auto traced(Value<4> y) {
  return sra::record(y, [](auto&, auto) {});
}
