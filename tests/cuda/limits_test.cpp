// Tests the limits of a device and its launches' times by events, on the emulation.
// SPDX-License-Identifier: MIT
#include <sra/autograd/context.hpp>
#include <sra/backend/kernel_times.hpp>
#include <sra/cuda/kernels.cuh>

#include <boost/test/unit_test.hpp>

#include <string>
#include <type_traits>

using namespace sra;

BOOST_AUTO_TEST_SUITE(limits)

BOOST_AUTO_TEST_CASE(copies_and_products_are_measured) {
  Cuda cuda;
  const gpu::LimitSizes sizes{.copied = 1 << 20, .side = 32};
  for (const Limits l : {measured_limits(cuda, std::type_identity<float>{}, sizes),
                         measured_limits(cuda, std::type_identity<bf16>{}, sizes)}) {
    BOOST_TEST(l.bytes_per_second > 0);
    BOOST_TEST(l.flops_per_second > 0);
  }
  BOOST_TEST(gpu::LargeProduct<bf16>(cuda, 32).flops() == 2.0 * 32 * 32 * 32);
}

BOOST_AUTO_TEST_CASE(launches_are_marked_in_the_streams_order) {
  Cuda cuda;
  Workspace<Cuda> workspace(cuda);
  KernelTimes times(cuda);
  static_assert(std::is_same_v<Cuda::timing_type, arch::Timing>);
  workspace.observer = &times;
  for (int pass = 0; pass < 3; ++pass) {
    Detached<Cuda, float> context(workspace, {});
    const auto x = context.tensor<float>(Shape<dynamic, 8>{4});
    fill(context, x, 1.0f);
    fill(context, x, 2.0f);
    times.end_pass(pass > 0);
    workspace.roll_back();
  }
  BOOST_TEST(times.launches() == 2u);
  BOOST_REQUIRE(times.samples().size() == 1u);
  const auto& [key, seconds] = *times.samples().begin();
  BOOST_TEST(key.name == "fill");
  BOOST_TEST(key.bytes == 4 * 8 * 4);
  BOOST_TEST(seconds.size() == 4u);
}

BOOST_AUTO_TEST_SUITE_END()
