// Tests the host's stand-ins for the hardware: that they do what the hardware does, and find what it would not forgive.
// SPDX-License-Identifier: MIT
#include <sra/cuda/arch/runtime.cuh>
#include <sra/cuda/arch/tensor_cores.cuh>
#include <sra/cuda/arch/warpgroup.cuh>

#include <boost/test/unit_test.hpp>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

using namespace sra;

namespace {

/// Whether the message of an Error holds these words.
auto says(const std::string& words) {
  return [words](const Error& e) {
    BOOST_TEST_MESSAGE(e.what());
    return std::string(e.what()).find(words) != std::string::npos;
  };
}

template <int Threads, class F>
struct Kernel {
  static constexpr int threads = Threads;
  F f;
  void operator()() const { f(); }
};
template <int Threads = 64, class F>
void run(index_t blocks, std::size_t shared, F f) {
  arch::emulated::Queue queue;
  arch::launch_kernel(&queue, blocks, shared, Kernel<Threads, F>{f});
}

int* ints() { return reinterpret_cast<int*>(arch::shared_memory()); }

}  // namespace

BOOST_AUTO_TEST_CASE(every_thread_of_every_block_runs_once) {
  std::vector<int> count(3 * 64);
  run(3, 0, [c = count.data()] {
    const arch::emulated::Unwatched unwatched;
    BOOST_TEST(arch::blocks() == 3);
    BOOST_TEST(arch::threads() == 64);
    ++c[arch::block() * 64 + arch::thread()];
  });
  for (const int n : count) BOOST_TEST(n == 1);
}

BOOST_AUTO_TEST_CASE(after_a_barrier_all_see_what_was_written) {
  std::vector<int> out(64);
  run(1, 64 * sizeof(int), [o = out.data()] {
    for (int round = 0; round < 3; ++round) {
      ints()[arch::thread()] = arch::thread() + round;
      arch::barrier();
      o[arch::thread()] += ints()[63 - arch::thread()];
      arch::barrier();
    }
  });
  for (int i = 0; i < 64; ++i) BOOST_TEST(out[static_cast<std::size_t>(i)] == 3 * (63 - i) + 3);
}

BOOST_AUTO_TEST_CASE(the_last_block_to_arrive_sees_what_all_wrote) {
  unsigned arrived = 0;
  std::vector<int> wrote(3 * 64), sums(64);
  for (int round = 1; round < 3; ++round) {
    run(3, 0, [=, c = &arrived, w = wrote.data(), s = sums.data()] {
      w[arch::block() * 64 + arch::thread()] = round;
      if (!arch::arrives_last(c, 3)) return;
      for (int b = 0; b < 3; ++b) s[arch::thread()] += w[b * 64 + 63 - arch::thread()];
    });
    BOOST_TEST(arrived == 0);
  }
  for (const int sum : sums) BOOST_TEST(sum == 3 + 6);
}

BOOST_AUTO_TEST_CASE(shared_memory_begins_as_nan) {
  run<32>(1, 4, [] {
    const arch::emulated::Unwatched unwatched;
    BOOST_TEST(ints()[0] == -1);
  });
}

BOOST_AUTO_TEST_CASE(lanes_exchange_within_their_warp) {
  std::vector<int> sums(64), firsts(64);
  run(1, 0, [s = sums.data(), f = firsts.data()] {
    int x = arch::thread();
    for (int mask = 16; mask > 0; mask /= 2) x += arch::exchange(x, mask);
    s[arch::thread()] = x;
    f[arch::thread()] = arch::from_lane(arch::thread(), 5);
  });
  for (std::size_t i = 0; i < 64; ++i) {
    BOOST_TEST(sums[i] == (i < 32 ? 496 : 496 + 32 * 32));
    BOOST_TEST(firsts[i] == (i < 32 ? 5 : 37));
  }
}

BOOST_AUTO_TEST_CASE(threads_that_wait_for_nobody_are_found) {
  BOOST_CHECK_EXCEPTION(run(1, 0,
                            [] {
                              if (arch::thread() != 7) arch::barrier();
                            }),
                        Error, says("63 threads wait"));
  BOOST_CHECK_EXCEPTION(run(1, 0,
                            [] {
                              if (arch::thread() < 5)
                                arch::exchange(1, 1);
                              else if (arch::thread() < 32)
                                arch::warp_barrier();
                            }),
                        Error, says("different things"));
  BOOST_CHECK_EXCEPTION(run<48>(1, 0, [] { arch::warp_barrier(); }), Error, says("fewer than 32 lanes"));
  BOOST_CHECK_EXCEPTION(run(1, std::size_t{228} << 10, [] {}), Error, says("more shared memory"));
}

BOOST_AUTO_TEST_CASE(an_error_in_a_thread_ends_the_kernel) {
  BOOST_CHECK_EXCEPTION(run(2, 0,
                            [] {
                              if (arch::thread() == 40) throw Error("from a thread");
                              arch::barrier();
                            }),
                        Error, says("from a thread"));
}

namespace {

/// A warp multiplies A [16, K] by B [8, K] transposed, both loaded from shared memory, K = 16 or 8.
template <int K>
struct Multiply {
  static constexpr int threads = 32;
  const float *a, *b;
  float* c;

  void operator()() const {
    auto* const left = reinterpret_cast<bf16*>(arch::shared_memory());
    bf16* const right = left + 16 * 24;
    const int lane = arch::thread();
    for (int i = lane; i < 16 * K; i += 32) left[i / K * 24 + i % K] = bf16(a[i]);
    for (int i = lane; i < 8 * K; i += 32) right[i / K * 24 + i % K] = bf16(b[i]);
    arch::barrier();
    arch::Pair fa[K / 4], fb[K / 8];
    arch::load_matrices(fa, left + lane % 16 * 24 + (K == 16 ? lane / 16 * 8 : 0));
    arch::load_matrices(fb, right + lane % 8 * 24 + (K == 16 ? lane / 8 % 2 * 8 : 0));
    float sum[4] = {};
    arch::multiply_add(sum, fa, fb);
    for (int j = 0; j < 4; ++j) c[(lane / 4 + j / 2 * 8) * 8 + lane % 4 * 2 + j % 2] = sum[j];
  }
};

template <int K>
void check_multiply() {
  std::vector<float> a, b, c(16 * 8);
  for (int i = 0; i < 16 * K; ++i) a.push_back(static_cast<float>((i * 7) % 11 - 5));
  for (int i = 0; i < 8 * K; ++i) b.push_back(static_cast<float>((i * 5) % 13 - 6));
  arch::emulated::Queue queue;
  arch::launch_kernel(&queue, 1, 24 * 24 * sizeof(bf16), Multiply<K>{a.data(), b.data(), c.data()});
  for (std::size_t m = 0; m < 16; ++m)
    for (std::size_t n = 0; n < 8; ++n) {
      float sum = 0;
      for (std::size_t k = 0; k < K; ++k) sum += a[m * K + k] * b[n * K + k];
      BOOST_TEST(c[m * 8 + n] == sum);
    }
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_warp_multiplies_what_it_loads) {
  check_multiply<16>();
  check_multiply<8>();
}

BOOST_AUTO_TEST_CASE(transposed_loads_exchange_rows_and_columns) {
  run<32>(1, 4 * 64 * sizeof(bf16), [] {
    auto* const m = reinterpret_cast<bf16*>(arch::shared_memory());
    for (int i = arch::thread(); i < 256; i += 32) m[i] = bf16(static_cast<float>(i));
    arch::barrier();
    arch::Pair plain[4], transposed[4];
    arch::load_matrices(plain, m + arch::thread() * 8);
    arch::load_matrices<4, true>(transposed, m + arch::thread() * 8);
    const int row = arch::thread() / 4, column = arch::thread() % 4 * 2;
    const arch::emulated::Unwatched unwatched;
    for (int k = 0; k < 4; ++k)
      for (int i = 0; i < 2; ++i) {
        BOOST_TEST(arch::emulated::element(plain[k], i) == static_cast<float>(64 * k + 8 * row + column + i));
        BOOST_TEST(arch::emulated::element(transposed[k], i) == static_cast<float>(64 * k + 8 * (column + i) + row));
      }
  });
}

BOOST_AUTO_TEST_CASE(copies_are_seen_when_they_are_waited_for) {
  alignas(16) static const int from[8] = {1, 2, 3, 4, 5, 6, 7, 8};
  run<32>(1, 64, [] {
    if (arch::thread() != 0) return;
    arch::copy_16_bytes(ints(), from);
    arch::commit_copies();
    arch::copy_16_bytes(ints() + 4, from + 4, false);
    arch::commit_copies();
    BOOST_TEST(ints()[0] == -1);
    arch::wait_for_copies<1>();
    BOOST_TEST(ints()[0] == 1);
    BOOST_TEST(ints()[4] == -1);
    arch::wait_for_copies();
    BOOST_TEST(ints()[4] == 0);
  });
  BOOST_CHECK_EXCEPTION(run<32>(1, 64, [] { arch::copy_16_bytes(ints() + 1, from); }), Error, says("multiples of 16"));
}

BOOST_AUTO_TEST_CASE(descriptors_are_read_as_the_vendor_says) {
  // PTX ISA, wgmma, in units of 16 bytes: along K, LBO leads "from the first column to the second columns of the 8x2 tile"
  // and SBO "from the first 8 rows to the next 8 rows"; along M or N, LBO leads "from the first 8 columns to the next 8
  // columns", SBO "from the first row to the next row".  Worked out by hand:
  struct {
    bool transposed;
    std::uint64_t leading, stride;
    int n, k;
    std::uint32_t address;
  } const table[] = {
      {false, 128, 1152, 0, 0, 2048},  {false, 128, 1152, 0, 1, 2050},    {false, 128, 1152, 1, 0, 2064},
      {false, 128, 1152, 7, 7, 2174},  {false, 128, 1152, 0, 8, 2176},    {false, 128, 1152, 8, 0, 3200},
      {false, 128, 1152, 9, 11, 3350}, {false, 128, 1152, 63, 15, 10366}, {true, 1152, 128, 1, 0, 2050},
      {true, 1152, 128, 0, 1, 2064},   {true, 1152, 128, 7, 7, 2174},     {true, 1152, 128, 8, 0, 2176},
      {true, 1152, 128, 0, 8, 3200},   {true, 1152, 128, 71, 15, 4350},
  };
  for (const auto& row : table) {
    const std::uint64_t descriptor = 2048 / 16 | row.leading / 16 << 16 | row.stride / 16 << 32;
    const arch::emulated::SharedOperand operand{descriptor, row.transposed};
    BOOST_TEST(operand.address(row.k, row.n) == row.address, row.n << ", " << row.k);
  }
}

namespace {

/// To the thread sanitizer these are races, which end the program.
#if defined(__SANITIZE_THREAD__)
constexpr bool unpublished_is_a_race = true;
#else
constexpr bool unpublished_is_a_race = false;
#endif

/// A product with one thing that is done wrong.
enum class Mistake { none, no_publish, no_loan, write_sum, write_left, early, mixed, swizzle, outside };

struct Product {
  static constexpr int threads = 128;
  Mistake mistake;
  float* first;  ///< what thread 0 reads before the product ends, and after

  void operator()() const {
    auto* const tile = reinterpret_cast<bf16*>(arch::shared_memory());
    for (int i = arch::thread(); i < 16 * 16; i += 128) tile[i] = bf16(1.0f);
    if (mistake != Mistake::no_publish) arch::publish_to_products();
    arch::barrier();
    std::uint64_t b = arch::shared_address(tile) / 16 | std::uint64_t{8} << 16 | std::uint64_t{16} << 32;
    if (mistake == Mistake::mixed && arch::thread() >= 96) b += 1;
    if (mistake == Mistake::swizzle) b |= std::uint64_t{1} << 62;
    if (mistake == Mistake::outside) b += 1;
    float sum[2][4] = {};
    arch::Pair left[4];
    for (auto& pair : left) pair = arch::pair_of(1, 2);
    if (mistake != Mistake::no_loan) arch::lend_to_products(sum, left);
    arch::multiply_add_later<16, true, false>(sum, left, b);
    arch::commit_products();
    if (arch::thread() == 0) first[0] = sum[0][0];
    if (mistake == Mistake::write_sum) sum[1][3] = 0;
    if (mistake == Mistake::write_left) left[2] = 0;
    if (mistake == Mistake::early)
      arch::wait_for_products<1>(sum);
    else
      arch::wait_for_products<0>(sum, left);
    if (arch::thread() == 0) first[1] = sum[0][0];
  }
};

void multiply_with(Mistake mistake, float* first) {
  arch::emulated::Queue queue;
  arch::launch_kernel(&queue, 1, 16 * 16 * sizeof(bf16), Product{mistake, first});
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_products_would_not_forgive_is_found) {
  float first[2] = {};
  multiply_with(Mistake::none, first);
  BOOST_TEST(std::isnan(first[0]));
  BOOST_TEST(first[1] == 24);
  const std::pair<Mistake, const char*> mistakes[] = {
      {Mistake::no_publish, "not published"},
      {Mistake::no_loan, "not lent"},
      {Mistake::write_sum, "register of the sum was written"},
      {Mistake::write_left, "register of the left operand was written"},
      {Mistake::early, "belongs to a product under way"},
      {Mistake::mixed, "got several"},
      {Mistake::swizzle, "without swizzle"},
      {Mistake::outside, "out of the block's shared memory"},
  };
  for (const auto& [mistake, words] : mistakes)
    if (mistake != Mistake::no_publish || !unpublished_is_a_race)
      BOOST_CHECK_EXCEPTION(multiply_with(mistake, first), Error, says(words));
  BOOST_CHECK_EXCEPTION(run(1, 64,
                            [] {
                              float sum[1][4] = {};
                              arch::Pair left[4] = {};
                              arch::lend_to_products(sum, left);
                              arch::multiply_add_later<8, true, false>(sum, left, 0);
                            }),
                        Error, says("fewer than four warps"));
}

BOOST_AUTO_TEST_CASE(copies_are_published_by_who_copied) {
  alignas(16) static const bf16 from[8] = {};
  const auto copy_and = [](bool all_publish) {
    run<128>(1, 16 * 16 * sizeof(bf16), [all_publish] {
      auto* const tile = reinterpret_cast<bf16*>(arch::shared_memory());
      if (arch::thread() < 32) arch::copy_16_bytes(tile + 8 * arch::thread(), from);
      arch::commit_copies();
      arch::wait_for_copies();
      if (all_publish || arch::thread() != 5) arch::publish_to_products();
      arch::barrier();
      float sum[2][4] = {};
      arch::Pair left[4] = {};
      arch::lend_to_products(sum, left);
      arch::multiply_add_later<16, true, false>(
          sum, left, arch::shared_address(tile) / 16 | std::uint64_t{8} << 16 | std::uint64_t{16} << 32);
      arch::commit_products();
      arch::wait_for_products<0>(sum, left);
    });
  };
  copy_and(true);
  if (!unpublished_is_a_race) BOOST_CHECK_EXCEPTION(copy_and(false), Error, says("not published"));
}

BOOST_AUTO_TEST_CASE(a_graph_does_again_what_was_captured) {
  arch::emulated::Queue queue;
  std::vector<int> count(1);
  arch::Graph::begin(&queue);
  arch::launch_kernel(&queue, 1, 0, Kernel<32, decltype([] {})>{});
  const auto kernel = [c = count.data()] {
    if (arch::thread() == 0) ++*c;
  };
  arch::launch_kernel(&queue, 1, 0, Kernel<32, decltype(kernel)>{kernel});
  BOOST_TEST(count[0] == 0);
  BOOST_CHECK_THROW(arch::wait(&queue), Error);
  arch::Graph graph = arch::Graph::end(&queue);
  graph.launch(&queue);
  graph.launch(&queue);
  BOOST_TEST(count[0] == 2);
}
