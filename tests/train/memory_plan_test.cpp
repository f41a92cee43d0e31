// Checks what a trainer says it will take against what its process takes.
// SPDX-License-Identifier: MIT
#include "process.hpp"
#include "samples.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdio>
#include <fstream>
#include <string>

namespace {

using sra::index_t;

inline constexpr sra::DiTConfig config{
    .height = 32, .width = 32, .channels = 4, .patch = 2, .hidden = 192, .depth = 6, .heads = 3};
using Model = sra::SiT<config, sra::Classes<10>>;
template <class T>
using Trainer = sra::Trainer<Model, sra::SRALoss<sra::Layer<2>, sra::Layer<4>>, sra::Cpu, T>;

/// A number of the process in bytes, such as "VmRSS:" (resident now) or "VmHWM:" (at most so far); 0 if the system does not
/// say.
double status(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name)) return std::stod(line.substr(name.size())) * 1024;
  return 0;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool measures = false;  // sanitizers keep memory of their own
#else
constexpr bool measures = true;
#endif

/// The parts of a plan are what they must be, and one step takes the total up to one percent.
template <class T>
void holds(double bytes_per_parameter) {
  constexpr index_t batch = 32;
  const int result = sra::test::in_process([&] {
    const double before = status("VmRSS:");
    typename Trainer<T>::Options o;
    o.batch = batch;
    o.threads = 2;
    o.quiet = true;
    Trainer<T> t(o);
    const sra::MemoryPlan plan = t.memory_plan();
    const sra::test::Samples<Model> samples(batch);
    t.step(samples.all());
    const double taken = status("VmHWM:") - before, planned = static_cast<double>(plan.total());
    std::printf("planned %.1f MiB, taken %.1f MiB, ratio %.4f\n", planned / 1048576, taken / 1048576, taken / planned);
    const double parameters = static_cast<double>(t.engine().store().size()) * bytes_per_parameter;
    if (static_cast<double>(plan.parameters) != parameters) throw sra::Error("the parameters' share is wrong");
    if (before > 0 && !(taken > 0.99 * planned && taken < 1.01 * planned)) throw sra::Error("the total is wrong");
  });
  BOOST_TEST(result == 0);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_plan)

BOOST_AUTO_TEST_CASE(in_float_is_right_to_one_percent, *boost::unit_test::enable_if<measures>()) {
  holds<float>(5 * 4);
}

BOOST_AUTO_TEST_CASE(in_bf16_is_right_to_one_percent, *boost::unit_test::enable_if<measures>()) {
  holds<sra::bf16>(5 * 4 + 2 * 2);
}

BOOST_AUTO_TEST_CASE(is_one_line_that_adds_up) {
  const sra::MemoryPlan plan{.parameters = 3u << 20, .activations = 2u << 20, .gradients = 1u << 20};
  BOOST_TEST(plan.text() == "memory 6 MiB: parameters and optimizer 3 MiB, activations 2 MiB, their gradients 1 MiB");
}

BOOST_AUTO_TEST_SUITE_END()
