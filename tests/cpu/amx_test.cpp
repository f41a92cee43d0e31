// Tests products on the tiles of AMX: which memory they touch, what they leave behind, and the emulation they run on.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"
#include "emulated_tiles.hpp"

#include <sra/cpu/attention.hpp>
#include <sra/cpu/gemm.hpp>

#include <boost/test/unit_test.hpp>
#include <sys/mman.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

BOOST_AUTO_TEST_SUITE(amx)

#if defined(__x86_64__) && defined(__linux__)

namespace {

using sra::bf16, sra::Cpu, sra::GradMode, sra::index_t, sra::wide_t, sra::test::EmulatedTiles;
using sra::backend::Isa, sra::backend::Matrix;

boost::test_tools::assertion_result has_amx(boost::unit_test::test_unit_id) {
  const EmulatedTiles emulated;
  const auto isas = sra::backend::available_isas();
  return std::find(isas.begin(), isas.end(), Isa::amx) != isas.end();
}

/// A dense matrix of random numbers whose last element is the last of its page; no page follows that may be read.
template <class T>
struct Guarded {
  std::size_t room;
  std::byte* memory;
  Matrix<T> view;

  Guarded(index_t rows, index_t columns, bool transposed, unsigned seed) {
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t bytes = static_cast<std::size_t>(rows * columns) * sizeof(T);
    room = (bytes + page - 1) / page * page;
    memory =
        static_cast<std::byte*>(mmap(nullptr, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(memory + room, page, PROT_NONE);
    T* const data = reinterpret_cast<T*>(memory + room - bytes);
    view = transposed ? Matrix<T>{data, rows, columns, 1, rows} : Matrix<T>{data, rows, columns, columns, 1};
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal;
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < columns; ++j) *view.at(i, j) = static_cast<T>(normal(generator));
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;
  ~Guarded() { munmap(memory, room + static_cast<std::size_t>(sysconf(_SC_PAGESIZE))); }
};

/// The largest difference of c and `times` a b as a fraction of what roundings may add up to, epsilon (2 + sqrt(K)) |a| |b|.
double difference(const Matrix<float>& c, double times, const Matrix<bf16>& a, const Matrix<bf16>& b) {
  double worst = 0;
  for (index_t i = 0; i < c.rows; ++i)
    for (index_t j = 0; j < c.columns; ++j) {
      double sum = 0, scale = 0;
      for (index_t k = 0; k < a.columns; ++k) {
        const double term = static_cast<double>(static_cast<float>(*a.at(i, k))) * static_cast<float>(*b.at(k, j));
        sum += times * term, scale += times * std::abs(term);
      }
      const double allowed = std::numeric_limits<float>::epsilon() * (2 + std::sqrt(double(a.columns))) * scale;
      const double fraction = std::abs(sum - static_cast<double>(*c.at(i, j))) / allowed;
      worst = worse(worst, fraction);
    }
  return worst;
}

/// What sttilecfg writes: zeros where no tile is in use.
bool tiles_in_use() {
  struct alignas(64) {
    unsigned char bytes[64];
  } configuration;
  asm volatile("sttilecfg %0" : "=m"(configuration));
  return std::any_of(std::begin(configuration.bytes), std::end(configuration.bytes),
                     [](unsigned char byte) { return byte != 0; });
}

/// The signal that ends a process which does this; 0 if it lives.
template <class Action>
int signal_of(Action action) {
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);  // what the emulation says is expected
    for (const int number : {SIGILL, SIGSEGV}) signal(number, SIG_DFL);
    const EmulatedTiles emulated;
    action();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

struct alignas(64) Configuration {
  std::uint8_t palette = 1, rest[15] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16};
};

/// Tile 0 is C, 1 is A, 2 is B.
void configure(const Configuration& configuration) { asm volatile("ldtilecfg %0" ::"m"(configuration)); }
void multiply() { asm volatile("tdpbf16ps %tmm2, %tmm1, %tmm0"); }

}  // namespace

BOOST_AUTO_TEST_SUITE(on_tiles, *boost::unit_test::precondition(has_amx))

BOOST_FIXTURE_TEST_CASE(no_memory_behind_an_operand_is_touched_nor_what_a_workspace_holds, EmulatedTiles) {
  Cpu cpu({.threads = 1, .isa = Isa::amx});
  double worst = 0;
  for (const index_t k : {1, 2, 31, 32, 33, 64, 385, 770})
    for (const auto& [m, n] : {std::pair{1, 1}, {16, 32}, {33, 31}, {20, 64}})
      for (const bool left : {false, true})
        for (const bool right : {false, true}) {
          const Guarded<bf16> a(m, k, left, 1), b(k, n, right, 2);
          const Guarded<float> c(m, n, false, 3);
          const std::size_t bytes = sra::backend::gemm_serial_bytes<float, bf16, bf16>(Isa::amx, m, n, k);
          std::byte* const workspace = cpu.scratch(0, bytes);
          const std::int64_t before = executed();
          for (const double times : {1, 2}) {
            std::memset(workspace, 0xff, bytes);  // NaN in both types
            gemm_serial(Isa::amx, workspace, c.view, a.view, b.view,
                        times == 1 ? GradMode::overwrite : GradMode::accumulate);
            worst = worse(worst, difference(c.view, times, a.view, b.view));
          }
          BOOST_TEST((sra::backend::detail::has_tiles() || executed() > before));
        }
  BOOST_TEST(worst <= 1);
}

BOOST_FIXTURE_TEST_CASE(no_tile_stays_in_use, EmulatedTiles) {
  BOOST_TEST(!tiles_in_use());
  configure({});
  BOOST_TEST(tiles_in_use());
  Cpu cpu({.threads = 1, .isa = Isa::amx});
  const Guarded<bf16> a(20, 40, false, 1), b(40, 50, false, 2);
  const Guarded<float> c(20, 50, false, 3);
  gemm(cpu, c.view, a.view, b.view, GradMode::overwrite);
  BOOST_TEST(!tiles_in_use());
  configure({});
  const std::size_t bytes = sra::backend::gemm_serial_bytes<float, bf16, bf16>(Isa::amx, 20, 50, 40);
  gemm_serial(Isa::amx, cpu.scratch(0, bytes), c.view, a.view, b.view, GradMode::accumulate);
  BOOST_TEST(!tiles_in_use());
}

/// Runs both passes of attention on bf16; results in order o, dq, dk, dv.
std::vector<std::vector<bf16>> attention(Isa isa, index_t queries, index_t keys, index_t width) {
  constexpr index_t heads = 2;
  const index_t token = heads * width;
  const Guarded<bf16> q(queries, token, false, 1), k(keys, token, false, 2), v(keys, token, false, 3);
  const Guarded<bf16> dy(queries, token, false, 4);
  const auto of = [&](index_t tokens) { return std::vector<bf16>(static_cast<std::size_t>(tokens * token)); };
  std::vector<std::vector<bf16>> out{of(queries), of(queries), of(keys), of(keys)};
  std::vector<float> lse(static_cast<std::size_t>(heads * queries));
  sra::backend::AttentionArgs<bf16> args{
      .samples = 1, .heads = heads, .queries = queries, .keys = keys, .width = width};
  args.q = q.view.data, args.k = k.view.data, args.v = v.view.data;
  args.q_token = args.k_token = args.v_token = token;
  args.scale = 1 / std::sqrt(static_cast<float>(width));
  Cpu cpu({.threads = 2, .isa = isa});
  attention_forward(cpu, out[0].data(), token, 0, lse.data(), args);
  const auto gradient = [&](std::size_t i) {
    return sra::backend::AttentionGrad<bf16>{out[i].data(), token, 0, GradMode::overwrite};
  };
  attention_backward(cpu, gradient(1), gradient(2), gradient(3),
                     {out[0].data(), token, 0, lse.data(), dy.view.data, token, 0}, args);
  return out;
}

BOOST_FIXTURE_TEST_CASE(attention_agrees_with_attention_in_vectors, EmulatedTiles) {
  const auto isas = sra::backend::available_isas();
  if (std::find(isas.begin(), isas.end(), Isa::avx512bf16) == isas.end()) return;
  for (const auto& [queries, keys, width] : {std::array<index_t, 3>{100, 100, 64}, {300, 77, 24}, {1, 40, 72}}) {
    const auto tiles = attention(Isa::amx, queries, keys, width);
    const auto vectors = attention(Isa::avx512bf16, queries, keys, width);
    // Sums in another order may round a probability or a gradient of a score to the next bf16, and a result once more:
    // 2^-7 of what a row of at most `keys` or `queries` terms of size <= 4 adds up to, in the mean of their signs.
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      double worst = 0, largest = 0;
      for (std::size_t j = 0; j < tiles[i].size(); ++j) {
        const double x = static_cast<float>(tiles[i][j]), y = static_cast<float>(vectors[i][j]);
        largest = std::max(largest, std::abs(y));
        worst = worse(worst, std::abs(x - y));
      }
      BOOST_TEST(worst <= 0x1p-7 * largest);
    }
  }
}

BOOST_FIXTURE_TEST_CASE(a_small_product_is_known, EmulatedTiles) {
  struct {
    float c[2][16], next[2][16];
    bf16 a[2][32] = {}, b[16][32] = {};
  } m;
  for (int k = 0; k < 6; ++k)
    for (int r = 0; r < 2; ++r) m.a[r][k] = bf16(static_cast<float>(r * 6 + k));
  for (int j = 0; j < 16; ++j) {
    for (int r = 0; r < 2; ++r) m.c[r][j] = static_cast<float>(100 * r);
    for (int k = 0; k < 3; ++k)
      m.b[k][2 * j] = bf16(static_cast<float>(j)), m.b[k][2 * j + 1] = bf16(static_cast<float>(k));
  }
  static constexpr Configuration two_rows{.rows = {2, 2, 16}};
  asm volatile(
      "ldtilecfg %4\n tileloaddt1 (%0,%3,2), %%tmm0\n tileloadd 256(%0,%3,2), %%tmm1\n tileloadd (%1,%3,2), %%tmm2\n"
      "tdpbf16ps %%tmm2, %%tmm1, %%tmm0\n tilestored %%tmm0, -64(%2,%3,2)\n tilerelease" ::"r"(m.c),
      "r"(m.b), "r"(m.next[1]), "r"(index_t{32}), "m"(two_rows)
      : "memory");
  for (int r = 0; r < 2; ++r)
    for (int j = 0; j < 16; ++j) {
      int sum = 100 * r;
      for (int k = 0; k < 3; ++k) sum += (r * 6 + 2 * k) * j + (r * 6 + 2 * k + 1) * k;
      BOOST_TEST(m.next[r][j] == static_cast<float>(sum));
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_valid_instruction_on_tiles_kills) {
  BOOST_TEST(signal_of([] { configure({}), multiply(); }) == 0);
  BOOST_TEST(signal_of([] { asm volatile("ud2"); }) == SIGILL);
  BOOST_TEST(signal_of([] { asm volatile(".byte 0xc4, 0xe2, 0x7a, 0x4f, 0xc0"); }) == SIGILL);  // no such opcode
  BOOST_TEST(signal_of(multiply) == SIGILL);                                                    // not configured
  BOOST_TEST(signal_of([] { asm volatile("tilezero %tmm0"); }) == SIGILL);
  for (const Configuration& sizes :
       {Configuration{.rows = {16, 15, 16}}, Configuration{.rows = {16, 16, 15}},
        Configuration{.row_bytes = {64, 32, 64}}, Configuration{.row_bytes = {32, 64, 64}}}) {
    BOOST_TEST(signal_of([&] { configure(sizes); }) == 0);
    BOOST_TEST(signal_of([&] { configure(sizes), multiply(); }) == SIGILL);
  }
  // A processor with tiles sends SIGSEGV for a configuration that cannot be.
  for (const Configuration& none : {Configuration{.palette = 2}, Configuration{.rows = {17, 16, 16}},
                                    Configuration{.rows = {0, 16, 16}}, Configuration{.rest = {0, 1}}})
    BOOST_TEST(signal_of([&] { configure(none); }) != 0);
}

BOOST_AUTO_TEST_SUITE_END()
#endif

BOOST_AUTO_TEST_CASE(without_emulation_it_depends_on_the_processor) {
  using sra::backend::Isa;
  const bool has = sra::backend::detail::has_tiles();
  BOOST_TEST((sra::backend::available_isas().back() == Isa::amx) == has);
  if (!has) BOOST_CHECK_THROW(sra::Cpu({.threads = 1, .isa = Isa::amx}), sra::Error);
}

BOOST_AUTO_TEST_SUITE_END()
