// Runs what Thrust does around a step on its two systems for CPUs, omp and cpp, and holds it to the CPU backend.
// SPDX-License-Identifier: MIT
#include "../train/expected_statistics.hpp"

#include <sra/cpu/memory.hpp>
#include <sra/cpu/statistics.hpp>
#include <sra/cuda/around.cuh>
#include <sra/nn/init.hpp>

#include <boost/test/unit_test.hpp>
#include <omp.h>
#include <thrust/system/cpp/execution_policy.h>
#include <thrust/system/omp/execution_policy.h>

#include <algorithm>
#include <cstddef>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

const Rng rng(3, Purpose::user, 0, 0);

/// Parameters of 1 to 20,000 numbers, most with padding behind them, in four buffers that an update could leave.
struct Buffers {
  std::vector<ParameterRange> parameters;
  std::vector<float> p, m, v, g;
  UpdatedBuffers<float> updated;

  Buffers() {
    index_t offset = 0;
    for (index_t size = 1; size < 20'000; size = 2 * size + 1) {
      parameters.push_back({offset, size, size % 4 == 3});
      offset += round_up(size, index_t{64});
    }
    const auto n = static_cast<std::size_t>(offset);
    for (std::vector<float>* x : {&p, &m, &v, &g}) x->assign(n, 0.0f);
    for (const ParameterRange& r : parameters)
      for (index_t i = r.offset; i < r.offset + r.size; ++i) {
        const auto k = static_cast<std::size_t>(i);
        p[k] = rng.normal(4 * i), m[k] = rng.normal(4 * i + 1), g[k] = rng.normal(4 * i + 2);
        v[k] = rng.uniform(i) + 0.5f;
      }
    updated = {p.data(), m.data(), v.data(), g.data(), {}};
    updated.numbers.keep = 0.75f, updated.numbers.step = 0.125f, updated.numbers.over_root = 1;
  }

  std::vector<ParameterStatistics> on(const auto& policy) const {
    std::vector<ParameterStatistics> all(parameters.size());
    sra::gpu::parameter_statistics_by(policy, updated, parameters.data(), std::ssize(parameters), std::ssize(p),
                                      all.data());
    return all;
  }
};

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
    sra::gpu::tabulate_by(thrust::cpp::par, cpp.data(), n, rule);
    sra::gpu::tabulate_by(thrust::omp::par, omp.data(), n, rule);
    BOOST_TEST((here == cpp));
    BOOST_TEST((here == omp));
    BOOST_TEST(here[n - 1] == static_cast<float>(rule(n - 1)));
  };
  expect_same(init::Uniform{0.3, rng});
  expect_same(init::Normal{0.02, rng});
  expect_same(init::Constant{1});
}

/// The cpp system adds chunks up from the first to the last, as the CPU backend does.
BOOST_AUTO_TEST_CASE(statistics_have_the_bits_of_the_cpu) {
  const Buffers b;
  Cpu cpu({.threads = 2});
  Workspace<Cpu> workspace(cpu);
  Detached<Cpu, float> context(workspace, {});
  const auto here = parameter_statistics(context, b.updated, b.parameters), cpp = b.on(thrust::cpp::par);
  for (std::size_t k = 0; k < here.size(); ++k) {
    BOOST_TEST(same(here[k].weight, cpp[k].weight));
    BOOST_TEST(same(here[k].gradient, cpp[k].gradient));
    BOOST_TEST(same(here[k].update, cpp[k].update));
    BOOST_TEST((here[k].update.squares > 0) == b.parameters[k].updated);
  }
}

BOOST_AUTO_TEST_CASE(many_threads_find_what_the_numbers_are_like) {
  omp_set_num_threads(4);
  const Buffers b;
  const auto cpp = b.on(thrust::cpp::par), omp = b.on(thrust::omp::par);
  for (std::size_t k = 0; k < omp.size(); ++k) {
    const ParameterRange& r = b.parameters[k];
    const auto values = [&](const std::vector<float>& x) {
      return std::vector<float>(x.begin() + r.offset, x.begin() + r.offset + r.size);
    };
    expect_statistics(omp[k].weight, values(b.p));
    expect_statistics(omp[k].gradient, values(b.g));
    BOOST_TEST(omp[k].update.min == cpp[k].update.min);
    BOOST_TEST(omp[k].update.max == cpp[k].update.max);
    const double squares = cpp[k].update.squares;
    BOOST_TEST(std::abs(omp[k].update.squares - squares) <= 2 * static_cast<double>(r.size) * 0x1p-53 * squares);
  }
}

BOOST_AUTO_TEST_SUITE_END()
