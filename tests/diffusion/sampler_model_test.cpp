// Tests samplers with a real model: threads, chunks, precision, and that nothing is allocated from the second call on.
// SPDX-License-Identifier: MIT
#include <sra/diffusion/sampler.hpp>
#include <sra/sra.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace {

std::atomic<long> allocations{0};

void* counted(std::size_t bytes, std::size_t alignment) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  return std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
}
void* counted_or_throw(std::size_t bytes, std::size_t alignment) {
  if (void* p = counted(bytes ? bytes : 1, alignment)) return p;
  throw std::bad_alloc();
}

}  // namespace

// g++ 12 sees the free() below in inlined deletes, but not that operator new is ours too.
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
// clang-format off
void* operator new(std::size_t n) { return counted_or_throw(n, alignof(std::max_align_t)); }
void* operator new(std::size_t n, std::align_val_t a) { return counted_or_throw(n, static_cast<std::size_t>(a)); }
void* operator new(std::size_t n, const std::nothrow_t&) noexcept { return counted(n ? n : 1, alignof(std::max_align_t)); }
void* operator new(std::size_t n, std::align_val_t a, const std::nothrow_t&) noexcept { return counted(n ? n : 1, static_cast<std::size_t>(a)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t, const std::nothrow_t&) noexcept { std::free(p); }
// clang-format on

namespace {

using sra::Cpu, sra::index_t, sra::SamplerMethod, sra::SamplerOptions;

constexpr sra::DiTConfig config{
    .height = 12, .width = 8, .channels = 3, .patch = 2, .hidden = 48, .depth = 2, .heads = 3};
using Model = sra::SiT<config, sra::Classes<10>>;
using Weights = sra::Store<Model, Cpu, float>;

/// Weights that are random everywhere: freshly initialised models have no velocity at all.
void randomise(Weights& store) {
  store.allocate();
  for (const sra::ParamInfo& p : store.parameters())
    for (index_t i = 0; i < p.size; ++i)
      store.ema(0)[p.offset + i] =
          0.1f * sra::Rng(5, sra::Purpose::user, 0, p.offset).normal(i) + (p.shape.size() == 1 ? 0.05f : 0.0f);
}

const std::vector<std::int32_t> classes{3, 1, 4, 1, 5, 9, 2, 6, 5, 10, 0};
constexpr SamplerOptions options{
    .method = SamplerMethod::sde_euler_maruyama, .steps = 5, .guidance = 2, .guidance_high = 0.8, .seed = 9};

auto labels(index_t n) { return sra::dense(classes.data(), sra::Shape<sra::dynamic>{n}); }

std::vector<double> images(int threads, SamplerOptions o, index_t n = 11) {
  Cpu cpu({.threads = threads});
  Weights store(cpu, 1);
  randomise(store);
  sra::Sampler sampler(cpu, store.module(), store.averaged());
  const auto x = sampler.sample(labels(n), o);
  for (int worker = 0; worker < threads; ++worker) BOOST_TEST(cpu.threads().worked_on(worker) > 0);
  return {x.data, x.data + x.shape.size()};
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sampler_model)

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  const auto one = images(1, options);
  BOOST_TEST((images(2, options) == one));
  BOOST_TEST((images(3, options) == one));
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_samples_that_come_along) {
  const auto all = images(1, options);  // 11 samples, 22 when guided
  for (const index_t chunk : {1, 2, 3, 4, 7}) {
    SamplerOptions o = options;
    o.max_batch = chunk;
    BOOST_TEST((images(1, o) == all), "chunks of " << chunk);
  }
  const auto first = images(1, options, 3);
  BOOST_TEST((first == std::vector<double>(all.begin(), all.begin() + static_cast<index_t>(first.size()))));
}

BOOST_AUTO_TEST_CASE(guidance_changes_what_it_should) {
  SamplerOptions never = options, none = options, always = options;
  never.guidance_low = 2;  // an interval without times
  none.guidance = 1;
  always.guidance_high = 1;
  BOOST_TEST((images(1, never) == images(1, none)));
  BOOST_TEST((images(1, always) != images(1, options)));
  BOOST_TEST((images(1, options) != images(1, none)));
}

BOOST_AUTO_TEST_CASE(float_models_agree_with_double_ones) {
  const auto x = images(1, options, 4);
  Cpu cpu({.threads = 1});
  Weights store(cpu, 1);
  randomise(store);
  std::vector<double> wide(store.ema(0), store.ema(0) + store.size());
  sra::Sampler sampler(cpu, store.module(), sra::ParameterTable<double>{wide.data(), wide.data(), nullptr, nullptr});
  const auto y = sampler.sample(labels(4), options);
  double error = 0, size = 0;
  for (index_t i = 0; i < y.shape.size(); ++i) {
    error += std::pow(x[static_cast<std::size_t>(i)] - y.data[i], 2);
    size += y.data[i] * y.data[i];
  }
  BOOST_TEST(std::sqrt(error / size) < 1e-5);  // what the goldens allow between float and double networks
  BOOST_TEST(error > 0);
}

BOOST_AUTO_TEST_CASE(a_second_call_of_the_same_sizes_allocates_nothing) {
  Cpu cpu({.threads = 2});
  Weights store(cpu, 1);
  randomise(store);
  sra::Sampler sampler(cpu, store.module(), store.averaged());
  SamplerOptions o = options;
  o.max_batch = 4;  // 4, 4 and 3
  sampler.sample(labels(11), o);
  cpu.freeze();  // as much scratch for every worker as for the busiest: which worker gets which task is not fixed
  const long before = allocations.load();
  sampler.sample(labels(11), o);
  BOOST_TEST(allocations.load() == before);
  BOOST_TEST(before > 0);
}

BOOST_AUTO_TEST_SUITE_END()
