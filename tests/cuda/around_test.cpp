// Runs what Thrust does around a step on its two systems for CPUs, omp and cpp, and holds it to the CPU backend.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE around
#define BOOST_TEST_DYN_LINK
#include <sra/cpu/memory.hpp>
#include <sra/cuda/around.cuh>
#include <sra/nn/init.hpp>

#include <boost/test/unit_test.hpp>
#include <omp.h>
#include <thrust/system/cpp/execution_policy.h>
#include <thrust/system/omp/execution_policy.h>

#include <vector>

using namespace sra;

namespace {

const Rng rng(3, Purpose::user, 0, 0);

}  // namespace

BOOST_AUTO_TEST_SUITE(around)

BOOST_AUTO_TEST_CASE(initial_values_have_the_bits_of_the_cpu) {
  constexpr index_t n = 10'007;
  const auto expect_same = [](const auto& rule) {
    Cpu cpu;
    Workspace<Cpu> workspace(cpu);
    Detached<Cpu, float> context(workspace, {});
    std::vector<float> here(n), cpp(n), omp(n);
    tabulate(context, here.data(), n, rule);
    sra::cuda::tabulate_by(thrust::cpp::par, cpp.data(), n, rule);
    sra::cuda::tabulate_by(thrust::omp::par, omp.data(), n, rule);
    BOOST_TEST((here == cpp));
    BOOST_TEST((here == omp));
    BOOST_TEST(here[n - 1] == static_cast<float>(rule(n - 1)));
  };
  expect_same(init::Uniform{0.3, rng});
  expect_same(init::Normal{0.02, rng});
  expect_same(init::Constant{1});
}

BOOST_AUTO_TEST_SUITE_END()
