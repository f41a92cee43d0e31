// A module that writes initial values into memory of the host.
// SPDX-License-Identifier: MIT
// expect: initialise: a module takes initialise\(const auto& values, name, seed\) and calls values.fill\(\)
#include <sra/cpu/memory.hpp>
#include <sra/nn/init.hpp>

struct Writes {
  sra::Param<4> p;

  static constexpr void visit(auto& self, auto&& f) { f("p", self.p); }
  template <class W>
  void initialise(W* values, std::string_view, std::uint64_t) const {
    values[p.offset] = 1;
  }
};

void start(sra::Detached<sra::Cpu, float>& context, float* memory) {
  sra::init::call_initialise(Writes{}, sra::init::Values(context, memory), "p", 0);
}
