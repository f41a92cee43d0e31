// Tests cutting images into patches and putting them together again.
// SPDX-License-Identifier: MIT
#include "op_check.hpp"

#include <sra/cpu/linear.hpp>
#include <sra/cpu/patch.hpp>
#include <sra/ops/linear.hpp>
#include <sra/ops/patch.hpp>

#include <vector>

using namespace sra;
using namespace sra::op_check;

BOOST_AUTO_TEST_SUITE(patch_op)

namespace {

constexpr Accuracy exact{.factor = 0};
constexpr auto channels_first = PatchOrder::channels_first;
constexpr auto channels_last = PatchOrder::channels_last;

template <int P, PatchOrder Order>
constexpr auto to_patches = [](auto x) { return patchify<P, Order>(x); };
template <int P, PatchOrder Order, index_t H, index_t W>
constexpr auto to_image = [](auto x) { return unpatchify<P, Order, H, W>(x); };

/// Calls f(place in the image, place in the patches) for every value of images [B, H, W, C], from the definition: token
/// (r, c) is r (W / P) + c, and value (channel, i, j) of it is pixel (r P + i, c P + j).
template <int P, PatchOrder Order, index_t H, index_t W, index_t C>
void for_values(index_t batch, auto f) {
  for (index_t b = 0; b < batch; ++b)
    for (index_t y = 0; y < H; ++y)
      for (index_t x = 0; x < W; ++x)
        for (index_t ch = 0; ch < C; ++ch) {
          const index_t token = y / P * (W / P) + x / P, i = y % P, j = x % P;
          const index_t value = Order == channels_first ? ch * P * P + i * P + j : i * P * C + j * C + ch;
          f(static_cast<std::size_t>(((b * H + y) * W + x) * C + ch),
            static_cast<std::size_t>((b * (H / P) * (W / P) + token) * P * P * C + value));
        }
}

template <int P, index_t H, index_t W, index_t C>
struct Size {
  using Image = Shape<dynamic, H, W, C>;
  using Patches = Shape<dynamic, (H / P) * (W / P), P * P * C>;
};

/// Channels 1, 3 and 4, patches of 2 and 4, height and width apart; patches of 3 x 12 values have padded rows.
void each_size(auto check) {
  check.template operator()<2, 4, 6, 1>();
  check.template operator()<2, 8, 4, 3>();
  check.template operator()<4, 4, 12, 3>();
  check.template operator()<4, 8, 8, 4>();
}

/// Calls check(op, formula, operand) for both directions, both orders and every size.
void each_op(auto check) {
  each_size([&]<int P, index_t H, index_t W, index_t C>() {
    const auto with_order = [&]<PatchOrder Order>() {
      using S = Size<P, H, W, C>;
      check(
          to_patches<P, Order>,
          [](const auto& o) {
            std::vector<double> y(o.values.size());
            for_values<P, Order, H, W, C>(o.shape.batch, [&](auto pixel, auto value) { y[value] = o.values[pixel]; });
            return y;
          },
          argument<typename S::Image>(2, 1, {.gap = 1}));
      check(
          to_image<P, Order, H, W>,
          [](const auto& o) {
            std::vector<double> y(o.values.size());
            for_values<P, Order, H, W, C>(o.shape.batch, [&](auto pixel, auto value) { y[pixel] = o.values[value]; });
            return y;
          },
          argument<typename S::Patches>(2, 2));
    };
    with_order.template operator()<channels_first>();
    with_order.template operator()<channels_last>();
  });
}

}  // namespace

BOOST_AUTO_TEST_CASE(agrees_with_unfused_definition) {
  each_op([](auto op, auto formula, const auto& x) { agrees_with_formula(op, formula, exact, x); });
}

BOOST_AUTO_TEST_CASE(gradient_matches_finite_differences) {
  each_op([](auto op, auto, const auto& x) { matches_finite_differences(op, x); });
}

BOOST_AUTO_TEST_CASE(backends_agree) {
  each_op([](auto op, auto, const auto& x) { every_isa_agrees(op, exact, x); });
}

BOOST_AUTO_TEST_CASE(accumulates_when_used_twice) {
  each_op([](auto op, auto, const auto& x) { accumulates(op, exact, x); });
}

BOOST_AUTO_TEST_CASE(unpatchify_undoes_patchify) {
  each_size([]<int P, index_t H, index_t W, index_t C>() {
    const auto copied = [](const auto& o) { return o.values; };
    const auto x = argument<typename Size<P, H, W, C>::Image>(3, 1);
    agrees_with_formula([](auto v) { return unpatchify<P, channels_first, H, W>(patchify<P, channels_first>(v)); },
                        copied, exact, x);
    agrees_with_formula([](auto v) { return unpatchify<P, channels_last, H, W>(patchify<P, channels_last>(v)); },
                        copied, exact, x);
  });
}

/// Token (r, c), feature d: b_d + Σ_{ch, i, j} W[d, ch, i, j] x[ch, r P + i, c P + j].
BOOST_AUTO_TEST_CASE(a_linear_layer_over_patches_is_a_convolution_of_stride_p) {
  constexpr index_t P = 2, H = 4, W = 6, C = 3, D = 5;
  const auto convolution = [](const auto& x, const auto& w, const auto& b) {
    std::vector<double> y;
    for (index_t s = 0; s < x.shape.batch; ++s)
      for (index_t r = 0; r < H / P; ++r)
        for (index_t c = 0; c < W / P; ++c)
          for (index_t d = 0; d < D; ++d) {
            double sum = b.values[static_cast<std::size_t>(d)];
            for (index_t ch = 0; ch < C; ++ch)
              for (index_t i = 0; i < P; ++i)
                for (index_t j = 0; j < P; ++j)
                  sum += w.values[static_cast<std::size_t>(((d * C + ch) * P + i) * P + j)] *
                         x.values[static_cast<std::size_t>(((s * H + r * P + i) * W + c * P + j) * C + ch)];
            y.push_back(sum);
          }
    return y;
  };
  agrees_with_formula([](auto x, auto w, auto b) { return linear(patchify<P, channels_first>(x), weight_of(w), b); },
                      convolution, Accuracy{.terms = C * P * P, .floor = 1}, argument<Shape<dynamic, H, W, C>>(2, 1),
                      argument<Shape<D, C * P * P>>(1, 2, {.parameter = true}),
                      argument<Shape<D>>(1, 3, {.parameter = true}));
}

BOOST_AUTO_TEST_CASE(has_the_same_bits_for_any_thread_count) {
  same_bits_for_any_thread_count(to_patches<2, channels_first>, argument<Shape<dynamic, 32, 64, 3>>(7, 1));
  same_bits_for_any_thread_count(to_image<2, channels_last, 32, 64>, argument<Shape<dynamic, 512, 12>>(7, 1));
}

BOOST_AUTO_TEST_SUITE_END()
