// Tests that launches become ranges of NVTX.
// SPDX-License-Identifier: MIT
#include <sra/autograd/context.hpp>
#include <sra/cpu/memory.hpp>
#include <sra/extra/nvtx.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

using namespace sra;

BOOST_AUTO_TEST_CASE(a_launch_is_a_range_with_its_name_and_bytes) {
  Cpu cpu({.threads = 1});
  Workspace<Cpu> workspace(cpu);
  {
    NvtxRanges ranges;
    workspace.observer = &ranges;
    Detached<Cpu, float> context(workspace, {});
    launch(context, "outer", {96, 0}, [&](Cpu&) { launch(context, "inner", {12, 5}, [](Cpu&) {}); });
    workspace.observer = nullptr;
    launch(context, "unseen", {}, [](Cpu&) {});
  }
  const std::vector<std::string> expected{"create sra", "push sra outer 96", "push sra inner 12",
                                          "pop sra",    "pop sra",           "destroy sra"};
  BOOST_TEST(nvtx_calls == expected, boost::test_tools::per_element());
}
