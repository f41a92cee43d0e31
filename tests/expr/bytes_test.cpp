// Tests what launches say they move: operands that a backward pass reads, gradients that it writes or adds to.
// SPDX-License-Identifier: MIT
#include <sra/cpu/cpu.hpp>
#include <sra/cuda/kernels.cuh>
#include <sra/ops/attention.hpp>
#include <sra/ops/distance.hpp>
#include <sra/ops/linear.hpp>
#include <sra/sra.hpp>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <map>
#include <string>
#include <type_traits>
#include <vector>

using namespace sra;

namespace {

/// Bytes by name of kernel, summed.
struct Bytes : LaunchObserver {
  std::map<std::string, double> all;
  void before(const char* kernel, const Cost& cost) override { all[kernel] += cost.bytes; }
  void after(const char*) override {}
};

constexpr index_t B = 3, T = 5, D = 16;
using Tokens = Shape<dynamic, T, D>;
constexpr double tokens = B * T * D * sizeof(bf16), values = B * D * sizeof(float);

/// What op(x, y, v) and its backward pass would move, planned only: x, y [B, T, D] in bf16, v [B, D] in float.
/// @param constants whether y and v have no gradients
template <class Backend_, class Op>
std::map<std::string, double> moved(const Op& op, bool constants = false) {
  Backend_ backend;
  Workspace<Backend_> workspace(backend);
  workspace.plan(true);
  Bytes bytes;
  {
    Recording<Backend_, bf16> context(workspace, {});
    auto x = make<bf16>(context, Tokens{B}), y = make<bf16>(context, Tokens{B});
    auto v = make<float>(context, Shape<dynamic, D>{B});
    if (constants) y = y.stop_gradient(), v = v.stop_gradient();
    const auto result = eval(op(x, y, v));
    workspace.observer = &bytes;
    backward(result);
    bytes.all.erase("fill");
  }
  workspace.observer = nullptr;
  workspace.roll_back();
  return bytes.all;
}

using Backends = std::tuple<Cpu, Cuda>;

template <class Tree>
std::string reads(std::vector<bool> wanted) {
  std::string leaves;
  for (int leaf = 0; leaf < static_cast<int>(wanted.size()); ++leaf)
    leaves +=
        detail::PullReads<Tree>::value(leaf, [&](int i) { return wanted[static_cast<std::size_t>(i)]; }) ? '1' : '0';
  return leaves;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(bytes)

BOOST_AUTO_TEST_CASE(a_backward_pass_reads_what_wanted_gradients_depend_on) {
  using A = Operand<0>;
  using M = Operand<1>;
  using N = Operand<2>;
  using Line = Apply<Add, A, Apply<Multiply, M, N>>;  // a + m n
  BOOST_TEST(reads<Line>({true, false, false}) == "000");
  BOOST_TEST(reads<Line>({true, true, false}) == "001");
  BOOST_TEST(reads<Line>({false, false, true}) == "010");
  BOOST_TEST(reads<Line>({true, true, true}) == "011");
  using Scaled = Apply<Multiply, Apply<Silu, A>, Apply<Subtract, M, N>>;  // silu(a) (m - n)
  BOOST_TEST(reads<Scaled>({true, false, false}) == "111");
  BOOST_TEST(reads<Scaled>({false, true, false}) == "100");
  using Ratio = Apply<Divide, A, Apply<Negate, M>>;
  BOOST_TEST(reads<Ratio>({false, true}) == "11");
  using Sum = Apply<Negate, Apply<Add, A, M>>;
  BOOST_TEST(reads<Sum>({true, true}) == "00");
}

BOOST_AUTO_TEST_CASE(a_residual_line_reads_neither_the_stream_nor_what_it_adds) {
  const auto line = [](auto x, auto y, auto v) { return x + v * y; };
  const auto all = moved<Cuda>(line);
  BOOST_TEST(all.at("pointwise_backward") == 2 * tokens + values);  // dx is handed over; dy = v d
  BOOST_TEST(all.at("pointwise_sums") == 2 * tokens + values);      // dv = sum of y d
  BOOST_TEST(all.size() == 2u);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_distance_writes_the_gradients_that_are_wanted, Backend_, Backends) {
  const auto distance = [](auto x, auto y, auto) { return cosine_features(x, y); };
  BOOST_TEST(moved<Backend_>(distance).at("cosine_backward") == 4 * tokens);
  BOOST_TEST(moved<Backend_>(distance, true).at("cosine_backward") == 3 * tokens);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(attention_reads_five_tensors_and_writes_three, Backend_, Backends) {
  const auto heads = [](auto x, auto y, auto) { return attention<2>(x, y, eval(y * 1)); };
  BOOST_TEST(moved<Backend_>(heads).at("attention_backward") == 8 * tokens);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_layer_moves_its_operands_and_adds_where_something_is, Backend_, Backends) {
  constexpr index_t out = 24;
  std::vector<bf16> memory(out * D);
  std::vector<float> gradient(out * D);
  unsigned char state = unwritten;
  const auto layer = [&](auto x, auto, auto) {
    using C = typename decltype(x)::context_type;
    const Weight<bf16, Shape<out, D>, C> w{dense(std::as_const(memory).data(), Shape<out, D>{}), gradient.data(),
                                           &state};
    return linear(x, w) + linear(x, w);
  };
  constexpr double y = B * T * out * sizeof(bf16), weight = out * D * sizeof(bf16), written = out * D * sizeof(float);
  const auto all = moved<Backend_>(layer);
  BOOST_TEST(all.at("linear_backward_input") == 2 * (y + weight) + 3 * tokens);  // written, then added to
  BOOST_TEST(all.at("linear_backward_weight") == 2 * (y + tokens) + 3 * written);
}

BOOST_AUTO_TEST_SUITE_END()
