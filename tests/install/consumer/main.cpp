// Includes the whole library, as the second unit does, and compares what both see.
// SPDX-License-Identifier: MIT
#include <sra/sra.hpp>

#include <cstdio>

const char* second_unit_version();

int main() {
  const sra::Shape<sra::dynamic, 3> shape{4};
  std::printf("%s of sra %s\n", sra::to_string(shape).c_str(), second_unit_version());
  return shape.size() == 12 ? 0 : 1;
}
