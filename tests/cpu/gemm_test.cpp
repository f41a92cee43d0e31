// Tests the matrix product against sums in higher precision, for every layout, instruction set and number of threads.
// SPDX-License-Identifier: MIT
#include "../worst_error.hpp"
#include "emulated_tiles.hpp"

#include <sra/cpu/gemm.hpp>

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

namespace {

using sra::bf16, sra::Cpu, sra::GradMode, sra::index_t, sra::wide_t, sra::test::EmulatedTiles;
using sra::backend::Epilogue, sra::backend::Isa, sra::backend::Matrix;

template <class T>
T poison() {
  return static_cast<T>(std::numeric_limits<wide_t<T>>::quiet_NaN());
}
/// A number as products in the wide type see it.
template <class T>
double number(T x) {
  return static_cast<double>(static_cast<wide_t<T>>(x));
}
/// The largest relative error of one rounding to T.
template <class T>
constexpr double rounding = std::is_same_v<T, bf16> ? 0x1p-8 : std::numeric_limits<wide_t<T>>::epsilon() / 2;

enum class Layout { rows, even_rows, columns, spread };  // neighbours lie in a row, in a column, nowhere

/// A random matrix in memory that is NaN wherever no element is.
template <class T>
struct Random {
  std::vector<T> memory;
  Matrix<T> view;

  Random(index_t rows, index_t columns, Layout layout, unsigned seed) {
    const index_t pitch = (layout == Layout::columns ? rows : columns * (layout == Layout::spread ? 3 : 1)) +
                          (layout == Layout::even_rows ? 6 : 5);
    view = layout == Layout::columns ? Matrix<T>{nullptr, rows, columns, 1, pitch}
                                     : Matrix<T>{nullptr, rows, columns, pitch, layout == Layout::spread ? 3 : 1};
    memory.assign(static_cast<std::size_t>(pitch * (layout == Layout::columns ? columns : rows) + 1), poison<T>());
    view.data = memory.data();
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    for (index_t i = 0; i < rows; ++i)
      for (index_t j = 0; j < columns; ++j) *view.at(i, j) = static_cast<T>(static_cast<wide_t<T>>(normal(generator)));
  }
};

/// Whether the operands of a product are rounded to bf16 before they are multiplied.
template <class A, class B>
bool multiplies_bf16(Isa isa) {
  return isa >= Isa::avx512bf16 && (std::is_same_v<A, bf16> || std::is_same_v<B, bf16>);
}

/// The largest error of c = start + a b + bias as a fraction of the allowed epsilon (2 + sqrt(K)) (|start| + |a| |b| +
/// |bias|), and for bf16 half a unit in the last place of c.
template <class T, class A, class B>
double error(Isa isa, const Matrix<T>& c, const Matrix<A>& a, const Matrix<B>& b,
             const std::type_identity_t<Matrix<T>>* start, const std::type_identity_t<wide_t<T>>* bias) {
  const auto factor = [half = multiplies_bf16<A, B>(isa)](auto x) {
    return half ? number(bf16(static_cast<float>(x))) : number(x);
  };
  double worst = 0;
  for (index_t i = 0; i < c.rows; ++i)
    for (index_t j = 0; j < c.columns; ++j) {
      long double sum = start ? number(*start->at(i, j)) : 0.0, scale = std::abs(sum);
      for (index_t k = 0; k < a.columns; ++k) {
        const long double term = static_cast<long double>(factor(*a.at(i, k))) * factor(*b.at(k, j));
        sum += term, scale += std::abs(term);
      }
      if (bias) sum += bias[j], scale += std::abs(bias[j]);
      double allowed = std::numeric_limits<wide_t<T>>::epsilon() * (2 + std::sqrt(static_cast<double>(a.columns))) *
                       static_cast<double>(scale);
      if (std::is_same_v<T, bf16>) allowed += 1.002 * rounding<bf16> * std::abs(static_cast<double>(sum));
      const double e = static_cast<double>(std::abs(sum - number(*c.at(i, j))));
      const double fraction = e == 0 ? 0 : e / allowed;
      worst = worse(worst, fraction);
    }
  return worst;
}

/// Whether what lies between the rows of c is untouched.
template <class T>
bool gaps_untouched(const Random<T>& c) {
  for (std::size_t i = 0; i < c.memory.size(); ++i) {
    const index_t at = static_cast<index_t>(i);
    if (at % c.view.row_stride >= c.view.columns && !std::isnan(number(c.memory[i]))) return false;
  }
  return true;
}

constexpr index_t sizes[][3] = {{1, 1, 1},     {1, 7, 3},      {4, 33, 65},   {5, 3, 400},
                                {13, 31, 17},  {14, 32, 384},  {15, 1, 385},  {29, 97, 770},
                                {64, 300, 48}, {113, 65, 129}, {230, 40, 19}, {3, 600, 72},
                                {48, 33, 2},   {17, 5, 31},    {33, 64, 32},  {31, 32, 33}};

template <class T, class A = T, class B = T>
void check_all(Isa isa, int threads) {
  Cpu cpu({.threads = threads, .isa = isa});
  double worst = 0;
  for (const auto& [m, n, k] : sizes)
    for (const Layout la : {Layout::rows, Layout::even_rows, Layout::columns, Layout::spread})
      for (const Layout lb : {Layout::rows, Layout::columns, Layout::spread}) {
        const Random<A> a(m, k, la, 1);
        const Random<B> b(k, n, lb, 2);
        const Random<T> start(m, n, Layout::rows, 3);
        Random<T> c(m, n, Layout::rows, 4), d = start;
        d.view.data = d.memory.data();
        for (index_t i = 0; i < m; ++i) std::fill_n(c.view.at(i, 0), n, poison<T>());
        gemm(cpu, c.view, a.view, b.view, GradMode::overwrite);
        gemm(cpu, d.view, a.view, b.view, GradMode::accumulate);
        const double e = std::max(error(isa, c.view, a.view, b.view, nullptr, nullptr),
                                  error(isa, d.view, a.view, b.view, &start.view, nullptr));
        if (!(e <= 1)) BOOST_ERROR("gemm " << m << " x " << n << " x " << k << ": error " << e << " of the allowed");
        worst = worse(worst, e);
        BOOST_TEST(gaps_untouched(c));
        BOOST_TEST(gaps_untouched(d));
      }
  BOOST_TEST_MESSAGE(to_string(isa) << ", " << sizeof(T) << ", " << sizeof(A) << ", " << sizeof(B)
                                    << " bytes: " << worst << " of the allowed error");
}

}  // namespace

BOOST_FIXTURE_TEST_SUITE(gemm, EmulatedTiles)

BOOST_AUTO_TEST_CASE(agrees_with_sums_in_higher_precision) {
  for (const Isa isa : sra::backend::available_isas()) {
    check_all<float>(isa, 1);
    check_all<double>(isa, 2);
    check_all<float, bf16, bf16>(isa, 2);
    check_all<bf16, bf16, bf16>(isa, 2);
    check_all<bf16, float, bf16>(isa, 1);
    check_all<float, bf16, float>(isa, 1);
    check_all<float, float, bf16>(isa, 1);
  }
}

template <class T>
void check_epilogue(Isa isa) {
  Cpu cpu({.threads = 2, .isa = isa});
  for (const index_t k : {0, 5, 500}) {
    constexpr index_t m = 37, n = 331;
    const Random<T> a(m, k, Layout::rows, 1), b(k, n, Layout::columns, 2);
    const Random<wide_t<T>> bias(1, n, Layout::rows, 3);
    Random<T> c(m, n, Layout::rows, 4), g(m, n, Layout::rows, 5);
    sra::backend::gemm(cpu, c.view, a.view, b.view, GradMode::overwrite,
                       Epilogue<T>{bias.view.data, g.view.data, g.view.row_stride});
    BOOST_TEST((error(isa, c.view, a.view, b.view, nullptr, bias.view.data) <= 1));
    const double allowed =
        3e-7 + (std::is_same_v<T, bf16> ? 1.002 * rounding<bf16> : 0);  // as stated for gelu; of g itself
    double worst = 0;
    for (index_t i = 0; i < m; ++i)
      for (index_t j = 0; j < n; ++j) {
        const double x = number(*c.view.at(i, j));
        const double e = std::abs(number(*g.view.at(i, j)) - sra::maths::gelu(x)) / std::max(1.0, std::abs(x));
        worst = worse(worst, e);
      }
    BOOST_TEST(worst <= allowed);
    BOOST_TEST(gaps_untouched(c));
    BOOST_TEST(gaps_untouched(g));
  }
}

BOOST_AUTO_TEST_CASE(epilogue_adds_bias_and_keeps_the_value_before_gelu) {
  for (const Isa isa : sra::backend::available_isas()) {
    check_epilogue<float>(isa);
    check_epilogue<bf16>(isa);
  }
}

/// c = (a b) gelu'(u) and the sums of its columns, over several blocks of rows and of columns and two pieces of K.
template <class T>
void check_slope(Isa isa, GradMode mode) {
  constexpr index_t m = 130, n = 600, k = 500;
  Cpu cpu({.threads = 2, .isa = isa});
  const Random<T> a(m, k, Layout::even_rows, 1), b(k, n, Layout::rows, 2), u(m, n, Layout::rows, 3);
  const Random<wide_t<T>> start(1, n, Layout::rows, 4);
  Random<T> c(m, n, Layout::rows, 5);
  std::vector<wide_t<T>> sums(start.view.data, start.view.data + n);
  const bool add = mode == GradMode::accumulate;
  if (!add) std::fill(sums.begin(), sums.end(), poison<wide_t<T>>());
  Epilogue<T> epilogue{.slope_at = u.view.data, .slope_row_stride = u.view.row_stride};
  epilogue.column_sums = sums.data(), epilogue.add_column_sums = add;
  sra::backend::gemm(cpu, c.view, a.view, b.view, GradMode::overwrite, epilogue);
  constexpr double epsilon = std::numeric_limits<wide_t<T>>::epsilon();
  double worst = 0, worst_sum = 0;
  for (index_t j = 0; j < n; ++j) {
    double column = add ? start.view.data[j] : 0.0, column_allowed = epsilon * std::abs(column);
    for (index_t i = 0; i < m; ++i) {
      double sum = 0, size = 0;
      for (index_t q = 0; q < k; ++q) {
        const double term = number(*a.view.at(i, q)) * number(*b.view.at(q, j));
        sum += term, size += std::abs(term);
      }
      const double right = sum * sra::maths::gelu_slope(number(*u.view.at(i, j)));
      // The product's error times |gelu'| < 1.13, the stated error of gelu', and one rounding.
      const double wide = 1.13 * epsilon * (2 + std::sqrt(double(k))) * size + 3e-7 * std::abs(sum);
      const double allowed = wide + (std::is_same_v<T, bf16> ? 1.002 * rounding<bf16> * std::abs(right) : 0);
      worst = worse(worst, std::abs(number(*c.view.at(i, j)) - right) / allowed);
      column += right, column_allowed += wide + epsilon * m * std::abs(right);
    }
    worst_sum = worse(worst_sum, std::abs(sums[static_cast<std::size_t>(j)] - column) / column_allowed);
  }
  BOOST_TEST_MESSAGE(to_string(isa) << ": " << worst << " and, of sums, " << worst_sum << " of the allowed error");
  BOOST_TEST(worst <= 1);
  BOOST_TEST(worst_sum <= 1);
  BOOST_TEST(gaps_untouched(c));
}
BOOST_AUTO_TEST_CASE(epilogue_multiplies_by_the_slope_of_gelu_and_sums_columns) {
  for (const Isa isa : sra::backend::available_isas())
    for (const GradMode mode : {GradMode::overwrite, GradMode::accumulate}) {
      check_slope<float>(isa, mode);
      check_slope<bf16>(isa, mode);
    }
}

BOOST_AUTO_TEST_CASE(empty_sizes_are_no_special_case) {
  Cpu cpu({.threads = 1});
  float c[6] = {1, 2, 3, 4, 5, 6};
  const Matrix<float> all{c, 2, 3, 3, 1};
  const Matrix<const float> a{nullptr, 2, 0, 0, 1}, b{nullptr, 0, 3, 3, 1};
  sra::backend::gemm(cpu, all, a, b, GradMode::accumulate);
  sra::backend::gemm(cpu, all, a, b, GradMode::ignore);
  BOOST_TEST(c[5] == 6);
  sra::backend::gemm(cpu, Matrix<float>{c, 0, 3, 3, 1}, Matrix<float>{nullptr, 0, 5, 5, 1},
                     Matrix<float>{c, 5, 3, 0, 1}, GradMode::overwrite);
  sra::backend::gemm(cpu, Matrix<float>{c, 2, 0, 3, 1}, Matrix<float>{c, 2, 5, 0, 1},
                     Matrix<float>{nullptr, 5, 0, 0, 1}, GradMode::overwrite);
  BOOST_TEST(c[5] == 6);
  float sums[] = {1, 2, 3};
  sra::backend::gemm(cpu, Matrix<float>{c, 0, 3, 3, 1}, Matrix<float>{nullptr, 0, 5, 5, 1},
                     Matrix<float>{c, 5, 3, 0, 1}, GradMode::overwrite, {.column_sums = sums});
  for (const float x : sums) BOOST_TEST(x == 0);
  sra::backend::gemm(cpu, all, a, b, GradMode::overwrite);
  for (const float x : c) BOOST_TEST(x == 0);
}

template <class T>
void check_serial_and_threads(Isa isa) {
  Cpu cpu({.threads = 2, .isa = isa});
  for (const auto& [m, n, k] : sizes) {
    const Random<T> a(m, k, Layout::columns, 1), b(k, n, Layout::columns, 2);
    Random<T> c(m, n, Layout::rows, 3), d = c;
    d.view.data = d.memory.data();
    const std::size_t bytes = sra::backend::gemm_serial_bytes<T>(isa, m, n, k);
    sra::backend::gemm(cpu, c.view, a.view, b.view, GradMode::accumulate);
    gemm_serial(isa, cpu.scratch(0, bytes), d.view, a.view, b.view, GradMode::accumulate);
    BOOST_TEST(std::memcmp(c.memory.data(), d.memory.data(), c.memory.size() * sizeof(T)) == 0);
  }
}

BOOST_AUTO_TEST_CASE(the_serial_form_gives_the_same_bits) {
  for (const Isa isa : sra::backend::available_isas()) {
    check_serial_and_threads<float>(isa);
    check_serial_and_threads<bf16>(isa);
  }
}

template <class T>
void check_thread_counts(Isa isa) {
  constexpr index_t m = 700, n = 530, k = 800;
  const Random<T> a(m, k, Layout::even_rows, 1), b(k, n, Layout::columns, 2);
  std::vector<T> first;
  for (const int threads : {1, 2, 3}) {
    Cpu cpu({.threads = threads, .isa = isa});
    Random<T> c(m, n, Layout::rows, 3);
    int tries = 0;
    do sra::backend::gemm(cpu, c.view, a.view, b.view, GradMode::overwrite);
    while (threads == 2 && (cpu.threads().worked_on(0) == 0 || cpu.threads().worked_on(1) == 0) && ++tries < 1000);
    if (threads == 2) {
      BOOST_TEST(cpu.threads().worked_on(0) > 0);
      BOOST_TEST(cpu.threads().worked_on(1) > 0);
    }
    if (first.empty()) first = c.memory;
    BOOST_TEST(std::memcmp(c.memory.data(), first.data(), first.size() * sizeof(T)) == 0);
  }
}

BOOST_AUTO_TEST_CASE(bits_do_not_depend_on_the_number_of_threads) {
  for (const Isa isa : sra::backend::available_isas()) {
    check_thread_counts<float>(isa);
    check_thread_counts<bf16>(isa);
  }
}

BOOST_AUTO_TEST_SUITE_END()
