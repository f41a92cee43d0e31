// Tests the stack of activations: addresses, growth, freezing, planning, and poison under the address sanitizer.
// SPDX-License-Identifier: MIT
#include "counting_source.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

using sra::Arena;

namespace {

constexpr std::size_t mega = std::size_t{1} << 20;

}  // namespace

BOOST_AUTO_TEST_SUITE(arena)

BOOST_AUTO_TEST_CASE(pieces_are_aligned_apart_and_usable) {
  CountingSource source;
  Arena arena(sra::MemorySource::of(source));
  std::vector<std::byte*> pieces;
  for (const std::size_t bytes : {1u, 255u, 256u, 257u, 0u, 5000u}) {
    auto* p = static_cast<std::byte*>(arena.take(bytes));
    BOOST_TEST(reinterpret_cast<std::uintptr_t>(p) % sra::alignment_bytes == 0u);
    std::memset(p, 1, bytes);
    for (std::byte* other : pieces) BOOST_TEST(p - other >= 256);
    pieces.push_back(p);
  }
  BOOST_TEST(arena.used() == 256 + 256 + 256 + 512 + 256 + 5120 + 6 * sra::detail::red_zone);
  BOOST_TEST(source.taken == 1u);
}

BOOST_AUTO_TEST_CASE(the_same_order_gives_the_same_addresses) {
  CountingSource source;
  Arena arena(sra::MemorySource::of(source));
  arena.take(100);
  const Arena::Mark mark = arena.mark();
  const std::size_t used = arena.used();
  void* first = arena.take(3 * mega / 4);
  void* second = arena.take(3 * mega / 4);  // in another chunk
  arena.pop(mark);
  BOOST_TEST(arena.used() == used);
  BOOST_TEST(arena.take(3 * mega / 4) == first);
  BOOST_TEST(arena.take(3 * mega / 4) == second);
  BOOST_TEST(source.taken == 2u);
}

BOOST_AUTO_TEST_CASE(growth_leaves_what_was_handed_out_in_place) {
  CountingSource source;
  Arena arena(sra::MemorySource::of(source));
  auto* kept = static_cast<int*>(arena.take(sizeof(int)));
  *kept = 7;
  for (int i = 0; i < 10; ++i) arena.take(mega);
  BOOST_TEST(*kept == 7);
  BOOST_TEST(arena.peak() == arena.used());
  const std::size_t peak = arena.peak();
  arena.pop({});
  BOOST_TEST(arena.used() == 0u);
  BOOST_TEST(arena.peak() == peak);
}

BOOST_AUTO_TEST_CASE(frozen_growth_throws_and_changes_nothing) {
  CountingSource source;
  Arena arena(sra::MemorySource::of(source), "activations");
  arena.take(mega / 2);
  const std::size_t used = arena.used();
  arena.freeze();
  BOOST_CHECK_EXCEPTION(arena.take(mega), sra::FrozenError, [&](const sra::FrozenError& e) {
    return std::string(e.what()).starts_with("activations: frozen with " + std::to_string(used) + " bytes in use, ");
  });
  BOOST_TEST(arena.used() == used);
  BOOST_CHECK_NO_THROW(arena.take(mega / 4));  // what is left of the chunk
  BOOST_TEST(source.taken == 1u);
  arena.thaw();
  BOOST_CHECK_NO_THROW(arena.take(mega));
}

BOOST_AUTO_TEST_CASE(planning_counts_without_memory_what_the_run_then_takes) {
  CountingSource source;
  Arena arena(sra::MemorySource::of(source));
  const auto run = [&] {
    arena.take(300);
    const Arena::Mark mark = arena.mark();
    arena.take(5 * mega);
    arena.pop(mark);
    arena.take(2 * mega);
    arena.take(1);
  };
  arena.plan(true);
  run();
  const std::size_t peak = arena.peak();
  arena.plan(false);
  BOOST_TEST(source.taken == 0u);
  arena.reserve(peak);
  arena.freeze();
  run();
  BOOST_TEST(arena.peak() == peak);
  BOOST_TEST(source.taken == 1u);
  BOOST_TEST(source.bytes == peak);
}

BOOST_AUTO_TEST_CASE(memory_goes_back_to_its_source) {
  CountingSource source;
  {
    Arena arena(sra::MemorySource::of(source));
    for (int i = 0; i < 5; ++i) arena.take(mega);
    BOOST_TEST(source.pieces > 0u);
    arena.pop({});
    arena.reserve(20 * mega);  // replaces the chunks
    BOOST_TEST(source.pieces == 1u);
  }
  BOOST_TEST(source.pieces == 0u);
  BOOST_TEST(source.bytes == 0u);
}

#if defined(__SANITIZE_ADDRESS__)
BOOST_AUTO_TEST_CASE(what_was_popped_is_poisoned_and_what_is_handed_out_is_nan) {
  CountingSource source;
  Arena arena(sra::MemorySource::of(source));
  auto* x = static_cast<float*>(arena.take(100 * sizeof(float)));
  for (int i = 0; i < 100; ++i) BOOST_TEST(x[i] != x[i]);
  BOOST_TEST(__asan_address_is_poisoned(reinterpret_cast<char*>(x) + 512));  // behind the piece
  arena.pop({});
  BOOST_TEST(__asan_address_is_poisoned(x));
}
#endif

BOOST_AUTO_TEST_SUITE_END()
