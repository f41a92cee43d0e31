// Tests strided views: where rows lie, how they are padded, when they are uniform or gapless, and parts of a batch.
// SPDX-License-Identifier: MIT
#include <sra/core/dtype.hpp>
#include <sra/core/view.hpp>

#include <boost/test/unit_test.hpp>

#include <numeric>
#include <type_traits>
#include <vector>

using namespace sra;

namespace {

std::vector<float> numbered(std::size_t n) {
  std::vector<float> x(n);
  std::iota(x.begin(), x.end(), 0.0f);
  return x;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(view)

BOOST_AUTO_TEST_CASE(rows_of_tokens_start_on_multiples_of_16_bytes) {
  BOOST_TEST((padded_pitch<float, Shape<dynamic, 4, 12>>()) == 12);
  BOOST_TEST((padded_pitch<float, Shape<dynamic, 4, 13>>()) == 16);
  BOOST_TEST((padded_pitch<double, Shape<dynamic, 4, 13>>()) == 14);
  BOOST_TEST((padded_pitch<bf16, Shape<dynamic, 4, 12>>()) == 16);
  BOOST_TEST((padded_pitch<float, Shape<dynamic, 3>>()) == 4);
  BOOST_TEST((padded_pitch<float, Shape<dynamic>>()) == 1);  // columns and images have no gaps
  BOOST_TEST((padded_pitch<float, Shape<dynamic, 8, 8, 3>>()) == 3);
}

BOOST_AUTO_TEST_CASE(rows_lie_at_pitch_and_samples_at_stride) {
  auto x = numbered(100);
  const View<float, Shape<dynamic, 3, 5>> v{x.data(), {2}, 7, 40};
  BOOST_TEST(v.row(1, 2)[4] == 40 + 14 + 4);
  BOOST_TEST(v.row(5)[4] == v.row(1, 2)[4]);
  BOOST_TEST(v.sample(1)[0] == 40);
  BOOST_TEST(v.span() == 40 + 14 + 5);
  const View<float, Shape<dynamic, 5>> rows{x.data(), {3}, 99, 9};  // one row a sample: the pitch plays no role
  BOOST_TEST(rows.row(2)[1] == 19);
  BOOST_TEST(rows.span() == 23);
}

BOOST_AUTO_TEST_CASE(a_view_knows_whether_it_is_uniform_and_without_gaps) {
  float* none = nullptr;
  const Shape<dynamic, 3, 5> shape{2};
  BOOST_TEST(dense(none, shape).contiguous());
  const View<float, Shape<dynamic, 3, 5>> padded{none, shape};
  BOOST_TEST(padded.uniform());
  BOOST_TEST(padded.row_stride() == 8);
  BOOST_TEST(!padded.contiguous());
  const View<float, Shape<dynamic, 3, 5>> apart{none, shape, 5, 20};
  BOOST_TEST(!apart.uniform());
  BOOST_TEST(!apart.contiguous());
  const View<float, Shape<dynamic, 3, 5>> alone{none, {1}, 5, 20};
  BOOST_TEST(alone.contiguous());
  const View<float, Shape<dynamic, 5>> rows{none, {3}, 5, 9};
  BOOST_TEST(rows.uniform());
  BOOST_TEST(rows.row_stride() == 9);
  BOOST_TEST(!rows.contiguous());
}

BOOST_AUTO_TEST_CASE(samples_of_a_batch_keep_their_layout) {
  auto x = numbered(64);
  const View<float, Shape<dynamic, 2, 3>> v{x.data(), {4}, 4, 10};
  const auto part = samples_of(v, 1, 2);
  BOOST_TEST(part.shape.batch == 2);
  BOOST_TEST(part.row(1, 1)[2] == v.row(2, 1)[2]);
}

BOOST_AUTO_TEST_CASE(views_are_handles) {
  using V = View<float, Shape<dynamic, 3, 5>>;
  BOOST_TEST((std::is_trivially_copyable_v<V>));
  BOOST_TEST((std::is_trivially_copyable_v<Grad<float, Shape<3>>>));
  BOOST_TEST((std::is_convertible_v<V, View<const float, Shape<dynamic, 3, 5>>>));
  BOOST_TEST((!std::is_convertible_v<View<const float, Shape<3>>, View<float, Shape<3>>>));
  BOOST_TEST(!(Grad<float, Shape<3>>{}));
  BOOST_TEST(static_cast<bool>(Grad<float, Shape<3>>{{}, GradMode::accumulate}));
}

BOOST_AUTO_TEST_SUITE_END()
