// Tests the thread pool: every item once, exceptions, nesting, and that the work is really shared.
// SPDX-License-Identifier: MIT
#include <sra/cpu/cpu.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

using sra::index_t;

BOOST_AUTO_TEST_SUITE(parallel)

BOOST_AUTO_TEST_CASE(every_item_is_called_once_by_a_worker_of_the_pool) {
  for (const int count : {1, 2, 3, 5}) {
    sra::Threads threads(count);
    BOOST_TEST(threads.size() == count);
    for (const index_t n : {0, 1, 2, 3, 100, 1001}) {
      std::vector<std::atomic<int>> calls(static_cast<std::size_t>(n));
      threads.for_each(n, [&](index_t i, int worker) {
        if (worker >= 0 && worker < count) calls[static_cast<std::size_t>(i)].fetch_add(1);
      });
      for (const auto& c : calls) BOOST_TEST(c.load() == 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(many_short_loops_lose_no_item) {
  sra::Threads threads(3);
  std::vector<index_t> sums(7, 0);  // plain integers: the end of a loop must order its writes
  for (index_t round = 0; round < 20000; ++round)
    threads.for_each(7, [&](index_t i, int) { sums[static_cast<std::size_t>(i)] += i; });
  for (index_t i = 0; i < 7; ++i) BOOST_TEST(sums[static_cast<std::size_t>(i)] == 20000 * i);
  BOOST_TEST(threads.worked_on(0) + threads.worked_on(1) + threads.worked_on(2) == 7 * 20000);
}

BOOST_AUTO_TEST_CASE(more_than_one_thread_works) {
  sra::Threads threads(2);
  std::atomic<double> sink{0};
  for (int attempt = 0; attempt < 1000 && (threads.worked_on(0) == 0 || threads.worked_on(1) == 0); ++attempt)
    threads.for_each(64, [&](index_t i, int) {
      double x = static_cast<double>(i);
      for (int k = 0; k < 20000; ++k) x = x * 0.999 + 1;
      sink.store(x);
    });
  BOOST_TEST(threads.worked_on(0) > 0);
  BOOST_TEST(threads.worked_on(1) > 0);
}

BOOST_AUTO_TEST_CASE(an_exception_reaches_the_caller_and_the_pool_lives_on) {
  for (const int count : {1, 2, 3}) {
    sra::Threads threads(count);
    for (int round = 0; round < 100; ++round) {
      std::string caught;
      try {
        threads.for_each(50, [](index_t i, int) {
          if (i % 7 == 3) throw std::runtime_error("item");
        });
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      BOOST_TEST(caught == "item");
      std::atomic<int> calls{0};
      threads.for_each(50, [&](index_t, int) { calls.fetch_add(1); });
      BOOST_TEST(calls.load() == 50);
    }
  }
}

BOOST_AUTO_TEST_CASE(after_an_exception_no_further_items_are_begun) {
  constexpr index_t n = 1'000'000'000;  // too many to be processed by accident
  sra::Threads threads(2);
  std::atomic<index_t> others{0};
  const auto item = [&](index_t i, int) {
    if (i != 0) {
      others.fetch_add(1, std::memory_order_relaxed);
      if (others.load(std::memory_order_relaxed) > 100'000) std::this_thread::yield();
      return;
    }
    for (int wait = 0; others.load() == 0 && wait < 1'000'000; ++wait) std::this_thread::yield();
    throw std::runtime_error("first");
  };
  BOOST_CHECK_THROW(threads.for_each(n, item), std::runtime_error);
  BOOST_TEST(others.load() < n / 2);
}

BOOST_AUTO_TEST_CASE(nested_loops_run_in_place_under_the_same_worker) {
  sra::Threads threads(3);
  std::atomic<int> calls{0}, strangers{0};
  threads.for_each(20, [&](index_t, int outer) {
    index_t expected = 0;
    threads.for_each(10, [&](index_t i, int inner) {
      if (inner != outer || i != expected++) strangers.fetch_add(1);
      calls.fetch_add(1);
    });
  });
  BOOST_TEST(calls.load() == 200);
  BOOST_TEST(strangers.load() == 0);
}

BOOST_AUTO_TEST_CASE(a_negative_count_is_refused) { BOOST_CHECK_THROW(sra::Threads{-1}, sra::Error); }

BOOST_AUTO_TEST_CASE(zero_threads_means_the_cores_of_this_process) { BOOST_TEST(sra::Threads(0).size() >= 1); }

BOOST_AUTO_TEST_CASE(memory_of_the_cpu_is_aligned_and_named_when_it_is_missing) {
  sra::Cpu cpu({.threads = 2});
  for (const std::size_t bytes : {0u, 1u, 255u, 100000u}) {
    void* p = cpu.allocate(bytes);
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(p) % sra::alignment_bytes == 0u);
    cpu.release(p, bytes);
  }
  cpu.release(nullptr, 0);
  BOOST_CHECK_EXCEPTION(cpu.allocate(std::size_t{1} << 63), sra::Error, [](const sra::Error& e) {
    return std::string(e.what()).find("9223372036854775808 bytes") != std::string::npos;
  });
}

BOOST_AUTO_TEST_CASE(scratch_grows_until_it_is_frozen) {
  sra::Cpu cpu({.threads = 2});
  std::byte* first = cpu.scratch(0, 1000);
  BOOST_TEST(reinterpret_cast<std::uintptr_t>(first) % sra::alignment_bytes == 0u);
  cpu.scratch(1, 50000)[49999] = std::byte{1};
  cpu.freeze();
  cpu.scratch(0, 50000)[49999] = std::byte{1};  // as much as the other worker has
  BOOST_CHECK_THROW(cpu.scratch(1, 1000000), sra::FrozenError);
  BOOST_CHECK_THROW(cpu.shared_scratch(1000000), sra::FrozenError);
}

BOOST_AUTO_TEST_CASE(the_instruction_set_can_be_chosen) {
  using sra::backend::Isa;
  for (const Isa isa : sra::backend::available_isas()) {
    BOOST_TEST((sra::Cpu({.threads = 1, .isa = isa}).isa() == isa));
    setenv("SRA_ISA", sra::backend::to_string(isa).c_str(), 1);
    BOOST_TEST((sra::Cpu({.threads = 1}).isa() == isa));
    BOOST_TEST((sra::Cpu({.threads = 1, .isa = Isa::portable}).isa() == Isa::portable));
  }
  setenv("SRA_ISA", "sse9", 1);
  BOOST_CHECK_EXCEPTION(sra::Cpu({.threads = 1}), sra::Error, [](const sra::Error& e) {
    return std::string(e.what()) ==
           "Cpu: environment SRA_ISA: expected portable, avx2, avx512, avx512bf16 or amx, got sse9";
  });
  unsetenv("SRA_ISA");
  BOOST_TEST((sra::Cpu({.threads = 1}).isa() == sra::backend::available_isas().back()));
}

BOOST_AUTO_TEST_SUITE_END()
