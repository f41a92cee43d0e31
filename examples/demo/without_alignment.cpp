// The run without alignment: the same in everything else.
// SPDX-License-Identifier: MIT
#include "training.hpp"

namespace demo {

std::unique_ptr<Run> run_without_alignment(const Settings& settings) {
  return std::make_unique<Training<sra::NoAlignment>>(settings, "none");
}

}  // namespace demo
