// The second translation unit: every function of the library is now defined twice, which the linker must accept.
// SPDX-License-Identifier: MIT
#include <sra/sra.hpp>

#include <string>

const char* second_unit_version() {
  static const std::string version = std::to_string(SRA_VERSION_MAJOR) + "." + std::to_string(SRA_VERSION_MINOR) + "." +
                                     std::to_string(SRA_VERSION_PATCH);
  return version.c_str();
}
