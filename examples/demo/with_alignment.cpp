// The run with self-representation alignment.
// SPDX-License-Identifier: MIT
#include "training.hpp"

namespace demo {

std::unique_ptr<Run> run_with_alignment(const Settings& settings) {
  return std::make_unique<Training<Align>>(settings, "sra");
}

}  // namespace demo
