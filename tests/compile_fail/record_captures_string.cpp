// A pullback that captures what a tape cannot keep.
// SPDX-License-Identifier: MIT
// expect: record: a pullback captures only views, slots and numbers
#include "value.hpp"

#include <string>

auto traced(Value<4> y, std::string name) {
  return sra::record(y, [name](auto&, auto) {});
}
