// Tests the pool of gradients: pieces come back in any order and serve requests of their size.
// SPDX-License-Identifier: MIT
#include "counting_source.hpp"

#include <sra/core/pool.hpp>

#include <boost/test/unit_test.hpp>

using sra::Pool;

BOOST_AUTO_TEST_SUITE(pool)

BOOST_AUTO_TEST_CASE(a_released_piece_serves_the_next_request_of_its_size) {
  CountingSource source;
  Pool pool(sra::MemorySource::of(source));
  void* a = pool.take(1000);
  void* b = pool.take(1000);
  void* c = pool.take(2000);
  BOOST_TEST(a != b);
  pool.release(a);
  pool.release(c);
  BOOST_TEST(pool.take(3000) != c);  // another size
  BOOST_TEST(pool.take(1001) == a);  // the same after rounding to 256 bytes
  BOOST_TEST(pool.take(2000) == c);
  BOOST_TEST(pool.live() == 4u);
}

BOOST_AUTO_TEST_CASE(the_newest_free_piece_comes_first_so_that_steps_repeat) {
  CountingSource source;
  Pool pool(sra::MemorySource::of(source));
  void* first[3];
  for (void*& p : first) p = pool.take(512);
  pool.release_all();
  void* second[3];
  for (void*& p : second) p = pool.take(512);
  pool.release_all();
  for (const void* p : second) BOOST_TEST(pool.take(512) == p);
  const std::size_t peak = pool.peak();
  pool.release_all();
  BOOST_TEST(pool.live() == 0u);
  for (int i = 0; i < 3; ++i) pool.take(512);
  BOOST_TEST(pool.peak() == peak);
}

BOOST_AUTO_TEST_CASE(what_is_not_in_use_cannot_be_released) {
  CountingSource source;
  Pool pool(sra::MemorySource::of(source));
  void* a = pool.take(100);
  pool.release(a);
  BOOST_CHECK_THROW(pool.release(a), sra::Error);
  int elsewhere = 0;
  BOOST_CHECK_THROW(pool.release(&elsewhere), sra::Error);
}

BOOST_AUTO_TEST_CASE(frozen_growth_throws_and_leaves_the_pool_usable) {
  CountingSource source;
  Pool pool(sra::MemorySource::of(source));
  void* a = pool.take(std::size_t{1} << 19);
  pool.release(a);
  pool.freeze();
  BOOST_TEST(pool.take(std::size_t{1} << 19) == a);
  BOOST_CHECK_THROW(pool.take(std::size_t{1} << 20), sra::FrozenError);
  BOOST_TEST(pool.live() == 1u);
  pool.release(a);
  BOOST_TEST(pool.take(std::size_t{1} << 19) == a);
}

BOOST_AUTO_TEST_CASE(planning_counts_without_memory_what_the_run_then_takes) {
  CountingSource source;
  Pool pool(sra::MemorySource::of(source));
  const auto run = [&] {
    void* a = pool.take(1 << 20);
    void* b = pool.take(300);
    pool.release(a);
    pool.take(1 << 20);
    pool.release(b);
    pool.take(200);
  };
  pool.plan(true);
  run();
  const std::size_t peak = pool.peak();
  pool.plan(false);
  BOOST_TEST(source.taken == 0u);
  pool.reserve(peak);
  pool.freeze();
  run();
  BOOST_TEST(pool.peak() == peak);
  BOOST_TEST(source.bytes == peak);
}

BOOST_AUTO_TEST_SUITE_END()
