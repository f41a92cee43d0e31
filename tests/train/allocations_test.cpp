// Checks that training allocates nothing once it runs: every way to allocate is counted, in all threads.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/sra.hpp>

#include <boost/test/unit_test.hpp>
#include <stdlib.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <functional>
#include <memory>
#include <new>
#include <string>
#include <thread>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define COUNTS 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define COUNTS 0
#endif
#endif
#if !defined(COUNTS) && defined(__GLIBC__)
#define COUNTS 1
#endif
#ifndef COUNTS
#define COUNTS 0
#endif

namespace {

std::atomic<bool> counting{false};
std::atomic<long> allocations{0};

inline void note() {
  if (counting.load(std::memory_order_relaxed)) allocations.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

#if COUNTS
// The program's own definitions take the place of the C library's, for everything that is linked to it; operator new
// allocates through them.
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);

void* malloc(std::size_t n) {
  note();
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  note();
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  note();
  return __libc_realloc(p, n);
}
void* memalign(std::size_t alignment, std::size_t n) {
  note();
  return __libc_memalign(alignment, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  note();
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t n) {
  note();
  *p = __libc_memalign(alignment, n);
  return *p ? 0 : ENOMEM;
}
}
#endif

namespace {

/// Allocations while f runs, in all threads.
template <class F>
long allocations_in(F f) {
  allocations = 0;
  counting = true;
  f();
  counting = false;
  return allocations;
}

/// Keeps the compiler from removing an allocation that nobody uses.
void* used(void* p) {
  asm volatile("" : "+r"(p) : : "memory");
  return p;
}

boost::test_tools::assertion_result counts(boost::unit_test::test_unit_id) {
  boost::test_tools::assertion_result result(COUNTS == 1);
  result.message() << "allocations are not counted under sanitizers and without glibc";
  return result;
}

struct alignas(128) Wide {
  char bytes[128];
};

constexpr sra::DiTConfig config{
    .height = 16, .width = 16, .channels = 3, .patch = 4, .hidden = 32, .depth = 4, .heads = 2};
using Trainer = sra::Trainer<sra::SiT<config, sra::Classes<10>>, sra::SRALoss<sra::Layer<1>, sra::Layer<3>>>;

/// Allocations of steps 4 to 13 of a run, reading threads included.
long allocations_of_ten_steps(Trainer::Options options, bool logs) {
  options.quiet = true;
  Trainer trainer{options};
  const sra::Shapes<16> data;
  long count = -1;
  for (auto step : trainer.train(data, 20)) {
    if (step.number() == 13) {
      counting = false;
      count = allocations;
    }
    if (logs) step.log();
    if (step.number() == 3) {
      allocations = 0;
      counting = true;
    }
  }
  return count;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(allocations, *boost::unit_test::precondition(counts))

BOOST_AUTO_TEST_CASE(every_way_to_allocate_is_counted_in_every_thread) {
  const auto counted = [](const char* name, const std::function<void()>& f) {
    BOOST_TEST_CONTEXT(name) BOOST_TEST(allocations_in([&] { f(); }) == 1);
  };
  counted("malloc", [] { free(used(malloc(10))); });
  counted("calloc", [] { free(used(calloc(10, 10))); });
  counted("realloc", [] { free(used(realloc(nullptr, 10))); });
  counted("aligned_alloc", [] { free(used(aligned_alloc(64, 128))); });
  counted("posix_memalign", [] {
    void* p = nullptr;
    if (posix_memalign(&p, 64, 100) == 0) free(used(p));
  });
  counted("new", [] { delete static_cast<int*>(used(new int(1))); });
  counted("new[]", [] { delete[] static_cast<int*>(used(new int[5])); });
  counted("new, aligned", [] { delete static_cast<Wide*>(used(new Wide)); });
  counted("new[], aligned", [] { delete[] static_cast<Wide*>(used(new Wide[3])); });
  counted("new, nothrow", [] { delete static_cast<int*>(used(new (std::nothrow) int(1))); });
  counted("new, aligned, nothrow", [] {
    ::operator delete (used(::operator new (64, std::align_val_t{64}, std::nothrow)), std::align_val_t{64},
                       std::nothrow);
  });
  std::atomic<int> stage{0};
  std::thread other([&] {
    while (stage.load() != 1) std::this_thread::yield();
    free(used(malloc(10)));
    stage = 2;
  });
  BOOST_TEST(allocations_in([&] {
               stage = 1;
               while (stage.load() != 2) std::this_thread::yield();
             }) == 1);
  other.join();
  BOOST_TEST(allocations_in([] {}) == 0);
}

BOOST_AUTO_TEST_CASE(ten_steps_on_shapes_allocate_nothing) {
  BOOST_TEST(allocations_of_ten_steps({.batch = 8, .threads = 2, .readers = 1}, false) == 0);
}

BOOST_AUTO_TEST_CASE(accumulation_averages_and_more_threads_allocate_nothing_either) {
  BOOST_TEST(
      allocations_of_ten_steps(
          {.batch = 12, .accumulate = 3, .ema = {0.9999, 0.99}, .frozen = {"*.bias"}, .threads = 3, .readers = 2},
          false) == 0);
  BOOST_TEST(allocations_of_ten_steps({.batch = 4, .threads = 1, .readers = 0}, false) == 0);
}

BOOST_AUTO_TEST_CASE(log_lines_allocate_nothing_either) {
  const sra::test::TemporaryFolder folder;
  BOOST_TEST(allocations_of_ten_steps({.run = folder / "run", .batch = 8, .threads = 2}, true) == 0);
}

BOOST_AUTO_TEST_SUITE_END()
