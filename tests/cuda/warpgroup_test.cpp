// Tests products of warpgroups and the tiles that they read, by matrices of small integers: results are exact.
// SPDX-License-Identifier: MIT
#include <sra/core/arena.hpp>
#include <sra/cuda/arch/runtime.cuh>
#include <sra/cuda/arch/warpgroup.cuh>
#include <sra/cuda/core_matrices.cuh>
#include <sra/cuda/cuda.cuh>

#include <boost/test/unit_test.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

using namespace sra;
using namespace sra::gpu::detail;

namespace {

/// A layout as CuTe writes it, (sizes):(strides): the offset of a coordinate is the sum of its digits times their strides.
struct Mode {
  int size, stride;
};
template <std::size_t N>
constexpr int offset(const std::array<Mode, N>& modes, int coordinate) {
  int sum = 0;
  for (const Mode& m : modes) sum += coordinate % m.size * m.stride, coordinate /= m.size;
  return sum;
}

// The canonical layouts of cute/atom/mma_traits_sm90_gmma.hpp for LayoutType::INTERLEAVE, in bytes: T = 8 numbers.
//   Major-K:  ((8,m),(T,2)):((1T,SBO),(1,LBO))      Major-MN:  ((T,1,m),(8,k)):((1,T,SBO),(1T,LBO))
constexpr int bytes = 2, T = 8, many = 1 << 20;
constexpr int along_k(int n, int k, int leading, int stride) {
  return offset(std::array{Mode{8, T * bytes}, Mode{many, stride}}, n) +
         offset(std::array{Mode{T, bytes}, Mode{2, leading}}, k);
}
constexpr int along_n(int n, int k, int leading, int stride) {
  return offset(std::array{Mode{T, bytes}, Mode{1, T * bytes}, Mode{many, stride}}, n) +
         offset(std::array{Mode{8, T * bytes}, Mode{many, leading}}, k);
}
constexpr int field(std::uint64_t descriptor, int first) { return static_cast<int>(descriptor >> first & 0x3fff) * 16; }

/// Where a tile's number (row, column) lies: every piece of 16 bytes belongs to one place.
template <int Width>
struct Tile {
  static constexpr int rows = 24;
  int at[rows][Width] = {};
  bool once = true;
  constexpr Tile() {
    for (auto& row : at)
      for (int& x : row) x = -1;
    for (int i = 0; i < rows * Width / 8; ++i) {
      const Place p = piece_in_cores(Width, i);
      for (int j = 0; j < 8; ++j) {
        once = once && at[p.row][p.column + j] == -1;
        at[p.row][p.column + j] = 16 * i + 2 * j;
      }
    }
  }
};
template <int Width>
constexpr bool tile_is_what_its_descriptors_say() {
  constexpr Tile<Width> tile;
  constexpr std::uint64_t columns = by_columns(1040, Width), rows = by_rows(1040, Width);
  bool good = tile.once && field(columns, 0) == 1040 && field(rows, 0) == 1040;
  for (int r = 0; r < tile.rows; ++r)
    for (int c = 0; c < Width; ++c) {
      good = good && tile.at[r][c] >= 0;
      const std::uint64_t from = moved(columns, c / 16 * 16 / 8 * core_bytes);  // the step of 16 columns that c is in
      good = good && field(from, 0) - 1040 + along_k(r, c % 16, field(from, 16), field(from, 32)) == tile.at[r][c];
      good = good && along_n(c, r, field(rows, 16), field(rows, 32)) == tile.at[r][c];
    }
  return good;
}
static_assert(tile_is_what_its_descriptors_say<16>() && tile_is_what_its_descriptors_say<64>());
static_assert(tile_is_what_its_descriptors_say<72>() && tile_is_what_its_descriptors_say<128>());

/// The columns of one product after the other make up the head.
constexpr bool columns_add_up(int width) {
  int sum = 0;
  while (sum < width) sum += columns_at_once(width - sum);
  return sum == width;
}
/// The tile's map and where a single number is are one.
static_assert(Tile<72>().at[13][70] == 2 * in_cores(72, 13, 70) && Tile<64>().at[23][63] == 2 * in_cores(64, 23, 63));
static_assert(columns_add_up(8) && columns_add_up(72) && columns_add_up(120) && columns_add_up(128));

constexpr int of_a(int row, int k) { return (row * 7 + k * 3) % 11 - 5; }
constexpr int of_tile(int row, int column) { return (row * 5 + column * 9 + row * column) % 13 - 6; }

/// The products of attention with two warpgroups of 64 rows, of which the sums begin as 1.  b is [64, Width].
template <int Width>
struct Multiply {
  static constexpr int threads = 2 * arch::warpgroup_size;
  static constexpr std::size_t shared_bytes = (64 * Width + 16 * 64) * sizeof(bf16);
  const bf16 *a, *b;    ///< [128, 16], [64, Width]
  float *scores, *sum;  ///< a b^T over b's first 16 columns, [128, 64]; 1 + 2 a b over its first 16 rows, [128, Width]
  float *within, *sum_of_shared;  ///< b b^T like scores, its first 32 columns; 1 + a b like sum; each twice

  SRA_DEVICE void operator()() const {
    if constexpr (arch::has_warpgroup_products()) {
      bf16 *const tile = reinterpret_cast<bf16*>(arch::shared_memory()), *const left = tile + 64 * Width;
      copy_cores<Width, 64>(tile, {b, Width, 0}, 0, 64);
      arch::commit_copies();
      for (int i = own_thread(); i < 16 * 64; i += threads)
        left[in_cores(64, i / 64, i % 64)] = a[i % 64 * 16 + i / 64];
      arch::wait_for_copies();
      arch::publish_to_products();
      arch::barrier();
      from_registers(arch::shared_address(tile));
      from_memory(arch::shared_address(tile), arch::shared_address(left));
    }
  }
  SRA_DEVICE void from_registers(std::uint32_t tile) const {
    const Place place = first_of_sum(own_lane());
    const bf16* const row = a + (own_warp() * 16 + place.row) * 16 + place.column;
    Pair left[4];
    for (int i = 0; i < 4; ++i) left[i] = load_pair(row + i % 2 * 8 * 16 + i / 2 * 8);
    float c[8][4] = {}, d[Width / 8][4];
    begin(d);
    arch::lend_to_products(left, c, d);
    arch::multiply_add_later<64, false, false>(c, left, by_columns(tile, Width));
    arch::commit_products();
    multiply_group_by_rows<Width>(d, left, by_rows(tile, Width));
    multiply_group_by_rows<Width>(d, left, by_rows(tile, Width));
    arch::commit_products();
    arch::wait_for_products<1>(c);
    put(scores, c);
    arch::wait_for_products<0>(d, left);
    put(sum, d);
  }
  SRA_DEVICE void from_memory(std::uint32_t tile, std::uint32_t left) const {
    float c[4][4] = {}, d[Width / 8][4];
    begin(d);
    arch::lend_to_products(c, d);
    arch::multiply_shared_later<32, false, false, false>(c, by_columns(tile, Width), by_columns(tile, Width));
    multiply_shared_by_rows<Width>(d, by_rows(left, 64), by_rows(tile, Width));
    arch::commit_products();
    arch::wait_for_products<0>(c, d);
    put(within, c);
    put(sum_of_shared, d);
  }
  template <int N>
  SRA_DEVICE static void begin(float (&x)[N][4]) {
    for (auto& eight : x)
      for (float& one : eight) one = 1;
  }
  template <int N>
  SRA_DEVICE static void put(float* to, const float (&x)[N][4]) {
    const Place place = first_of_sum(own_lane());
    for (int n = 0; n < N; ++n)
      for (int j = 0; j < 4; ++j)
        to[(own_warp() * 16 + place.row + j / 2 * 8) * 8 * N + 8 * n + place.column + j % 2] = x[n][j];
  }
};

template <class T>
class OnDevice {
 public:
  OnDevice(Cuda& cuda, std::size_t count)
      : cuda_(cuda), memory_(MemorySource::of(cuda), count * sizeof(T)), host_(count) {}
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }
  /// x(i) for every i.
  void fill(auto x) {
    for (std::size_t i = 0; i < host_.size(); ++i) host_[i] = T(static_cast<float>(x(static_cast<int>(i))));
    cuda_.upload(data(), host_.data(), host_.size() * sizeof(T));
  }
  /// That row m and column n of [128, columns] are x(m, n).
  void expect(const char* what, int columns, auto x) {
    cuda_.download(host_.data(), data(), host_.size() * sizeof(T));
    for (int i = 0; i < 128 * columns; ++i)
      BOOST_TEST(host_[static_cast<std::size_t>(i)] == static_cast<float>(x(i / columns, i % columns)),
                 what << ": " << i / columns << ", " << i % columns);
  }

 private:
  Cuda& cuda_;
  Memory memory_;
  std::vector<T> host_;
};

/// The sum of f(k) over the 16 of a product.
constexpr int over_k(auto f) {
  int sum = 0;
  for (int k = 0; k < 16; ++k) sum += f(k);
  return sum;
}

template <int Width>
void check_products() {
  Cuda cuda({.attention = AttentionKernel::wgmma});
  if (cuda.attention() != AttentionKernel::wgmma) return;  // another device
  OnDevice<bf16> a(cuda, 128 * 16), b(cuda, 64 * Width);
  OnDevice<float> scores(cuda, 128 * 64), sum(cuda, 128 * Width), within(cuda, 128 * 32), shared(cuda, 128 * Width);
  a.fill([](int i) { return of_a(i / 16, i % 16); });
  b.fill([](int i) { return of_tile(i / Width, i % Width); });
  arch::launch_kernel(cuda.stream(), 1, Multiply<Width>::shared_bytes,
                      Multiply<Width>{a.data(), b.data(), scores.data(), sum.data(), within.data(), shared.data()});
  scores.expect("a b^T", 64, [](int m, int n) { return over_k([=](int k) { return of_a(m, k) * of_tile(n, k); }); });
  sum.expect("a b", Width,
             [](int m, int n) { return 1 + 2 * over_k([=](int k) { return of_a(m, k) * of_tile(k, n); }); });
  within.expect("b b^T", 32,
                [](int m, int n) { return over_k([=](int k) { return of_tile(m % 64, k) * of_tile(n, k); }); });
  shared.expect("a b, both in memory", Width,
                [](int m, int n) { return 1 + over_k([=](int k) { return of_a(m % 64, k) * of_tile(k, n); }); });
}

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_warpgroup)

BOOST_AUTO_TEST_CASE(products_along_rows_and_columns_are_exact) {
  check_products<16>();
  check_products<40>();
  check_products<64>();
  check_products<72>();
  check_products<128>();
}

BOOST_AUTO_TEST_CASE(wgmma_is_taken_when_asked_for) { BOOST_TEST((Cuda().attention() == AttentionKernel::mma)); }

BOOST_AUTO_TEST_SUITE_END()
