// A module whose visit forgets a parameter.
// SPDX-License-Identifier: MIT
// expect: place: visit\(\) must reach every parameter of the module
#include <sra/nn/linear.hpp>

struct Forgetful {
  sra::Linear<4, 8> first;
  sra::Linear<8, 4> second;

  static constexpr void visit(auto& self, auto&& f) { f("first", self.first); }
};

sra::index_t end_of(Forgetful& module) { return sra::place(module); }
