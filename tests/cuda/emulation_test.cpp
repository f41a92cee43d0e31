// Tests the host's stand-ins for the hardware: that they do what the hardware does, and find what it would not forgive.
// SPDX-License-Identifier: MIT
#define BOOST_TEST_MODULE emulation
#define BOOST_TEST_DYN_LINK
#include <sra/cuda/arch/runtime.cuh>
#include <sra/cuda/arch/tensor_cores.cuh>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <cstdint>
#include <string>
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
