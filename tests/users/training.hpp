// Three steps of training with something of a user's, and what must be seen.
// SPDX-License-Identifier: MIT
#pragma once

#include "waves.hpp"

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

namespace lab {

/// Trains on waves for three steps: losses are finite, the alignment's is positive, and every parameter whose name
/// begins with `prefix` has moved and its gradient is finite.
template <class Trainer>
void train_three_steps(Trainer& trainer, const std::string& prefix) {
  auto& store = trainer.engine().store();
  const std::vector<float> before(store.master(), store.master() + store.size());
  const LabelledWaves data;
  int steps = 0;
  for (auto step : trainer.train(data, 3)) {
    const auto& report = step.report();
    ++steps;
    BOOST_TEST(!report.skipped);
    BOOST_TEST(std::isfinite(report.losses.total));
    BOOST_TEST(report.losses.denoising > 0);
    BOOST_TEST(report.losses.alignment > 0);
    BOOST_TEST(report.losses.total == report.losses.denoising + report.losses.weight * report.losses.alignment,
               boost::test_tools::tolerance(1e-6));  // three roundings to float
  }
  BOOST_TEST(steps == 3);
  int moved = 0;
  for (const sra::ParamInfo& p : store.parameters()) {
    if (p.name.compare(0, prefix.size(), prefix) != 0 || p.kind == sra::ParamKind::constant) continue;
    const auto bytes = static_cast<std::size_t>(p.size) * sizeof(float);
    BOOST_TEST(std::memcmp(before.data() + p.offset, store.master() + p.offset, bytes) != 0, p.name);
    for (const float g : trainer.gradient(p.name)) BOOST_TEST_REQUIRE(std::isfinite(g), p.name);
    ++moved;
  }
  BOOST_TEST(moved > 0);
}

}  // namespace lab
