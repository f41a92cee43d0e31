// A schedule that owns memory.
// SPDX-License-Identifier: MIT
// expect: Schedule: the function must be trivially copyable and hold at most 48 bytes
#include <sra/core/schedule.hpp>

#include <string>

sra::Schedule schedule = [name = std::string("warm-up")](const sra::Progress& at) {
  return name.empty() ? at.fraction() : 1.0;
};
