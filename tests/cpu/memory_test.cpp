// Tests filling, copying and adding of views with and without gaps, in every instruction set.
// SPDX-License-Identifier: MIT
#include <sra/autograd/context.hpp>
#include <sra/cpu/memory.hpp>

#include <boost/test/unit_test.hpp>

#include <string>
#include <vector>

namespace {

using sra::Cpu, sra::dynamic, sra::Grad, sra::GradMode, sra::index_t, sra::Shape, sra::View;

constexpr float untouched = -7;

/// A buffer seen as a view whose rows and samples lie `gap` elements apart.
template <class S>
struct Buffer {
  std::vector<float> elements;
  View<float, S> view;

  Buffer(S shape, index_t gap)
      : elements(static_cast<std::size_t>(shape.samples() * (S::sample_rows * (S::width + gap) + gap)), untouched),
        view{elements.data(), shape, S::width + gap, S::sample_rows * (S::width + gap) + gap} {}
};

template <class S>
float value(index_t r, index_t i) {
  return static_cast<float>((r * S::width + i) % 1021) / 16;
}

template <class S>
void check(index_t batch, index_t gap_to, index_t gap_from, GradMode mode) {
  const S shape{batch};
  Buffer<S> from(shape, gap_from);
  for (index_t r = 0; r < shape.rows(); ++r)
    for (index_t i = 0; i < S::width; ++i) from.view.row(r)[i] = value<S>(r, i);
  for (const sra::backend::Isa isa : sra::backend::available_isas()) {
    Cpu cpu{{.threads = 2, .isa = isa}};
    sra::Workspace<Cpu> workspace(cpu);
    sra::Detached<Cpu, float> context(workspace, {});
    Buffer<S> to(shape, gap_to);
    for (index_t r = 0; r < shape.rows(); ++r)
      for (index_t i = 0; i < S::width; ++i) to.view.row(r)[i] = 0.5f;
    sra::backend::deposit(context, Grad<float, S>{to.view, mode}, View<const float, S>(from.view));
    index_t wrong = 0;
    for (index_t r = 0; r < shape.rows(); ++r)
      for (index_t i = 0; i < S::width; ++i) {
        const float x = value<S>(r, i), expected = mode == GradMode::overwrite    ? x
                                                   : mode == GradMode::accumulate ? 0.5f + x
                                                                                  : 0.5f;
        wrong += to.view.row(r)[i] != expected;
        to.view.row(r)[i] = untouched;
      }
    BOOST_TEST(wrong == 0, to_string(shape) << " gaps " << gap_to << " " << gap_from << " in " << to_string(isa));
    for (const float x : to.elements) wrong += x != untouched;
    BOOST_TEST(wrong == 0, to_string(shape) << ": wrote between the rows in " << to_string(isa));
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(deposit_writes_adds_or_leaves_every_element_and_nothing_else) {
  for (const GradMode mode : {GradMode::overwrite, GradMode::accumulate, GradMode::ignore})
    for (const index_t gap_to : {0, 3})
      for (const index_t gap_from : {0, 5}) {
        check<Shape<dynamic>>(1, gap_to, gap_from, mode);
        check<Shape<dynamic, 3>>(7, gap_to, gap_from, mode);
        check<Shape<dynamic, 5, 64>>(3, gap_to, gap_from, mode);
        check<Shape<dynamic, 9, 7, 3>>(5, gap_to, gap_from, mode);
        check<Shape<dynamic, 20'011>>(2, gap_to, gap_from, mode);  // several strips of a row
      }
}
