// Tests that ops refuse operands of different batches and layouts they cannot read, in one sentence, before any kernel runs.
// SPDX-License-Identifier: MIT
#include <sra/cpu/attention_launch.hpp>
#include <sra/cpu/linear.hpp>
#include <sra/cpu/norm.hpp>
#include <sra/cpu/pointwise.hpp>
#include <sra/nn/attention.hpp>
#include <sra/ops/slice.hpp>

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <string>
#include <vector>

using namespace sra;

namespace {

struct Rig {
  Cpu cpu{{.threads = 1}};
  Workspace<Cpu> workspace{cpu};
  std::vector<float> parameters = std::vector<float>(1024, 1.0f);
  Detached<Cpu, float> context{workspace, {parameters.data(), parameters.data(), nullptr, nullptr}};

  template <class S>
  auto ones(S shape) {
    const auto v = make<float>(context, shape);
    fill(context, v.value, 1.0f);
    return v.stop_gradient();
  }
};

auto says(const std::string& words) {
  return [words](const Error& e) {
    BOOST_TEST_MESSAGE(e.what());
    return std::string(e.what()).find(words) != std::string::npos;
  };
}

using Tokens = Shape<dynamic, 4, 8>;
using PerSample = Shape<dynamic, 8>;

}  // namespace

BOOST_AUTO_TEST_CASE(modulated_norm_needs_one_batch) {
  Rig rig;
  const auto x = rig.ones(Tokens{4});
  const auto two = rig.ones(PerSample{2}), four = rig.ones(PerSample{4});
  BOOST_CHECK_EXCEPTION(modulated_norm(x, two, two), Error, says("expected 4, got 2"));
  BOOST_CHECK_EXCEPTION(modulated_norm(x, four, two), Error, says("expected 4, got 2"));
  BOOST_CHECK_NO_THROW(modulated_norm(x, four, four));
}

BOOST_AUTO_TEST_CASE(attention_needs_one_batch_of_queries_keys_values_and_groups) {
  Rig rig;
  const auto q = rig.ones(Tokens{4}), two = rig.ones(Tokens{2});
  BOOST_CHECK_EXCEPTION(attention<2>(q, two, two), Error, says("attention: operands of one batch, expected 4, got 2"));
  BOOST_CHECK_EXCEPTION(attention<2>(q, q, two), Error, says("expected 4, got 2"));
  const std::vector<std::int32_t> map(12);
  const SameGroup<Shape<dynamic, 4>> mask{dense(map.data(), Shape<dynamic, 4>{3})};
  BOOST_CHECK_EXCEPTION(attention<2>(q, q, q, mask), Error, says("groups of 4 samples, got 3"));
  BOOST_CHECK_NO_THROW(attention<2>(q, q, q));
}

BOOST_AUTO_TEST_CASE(head_norm_needs_rows_at_one_distance) {
  Rig rig;
  HeadNorm<4> norm;
  place(norm);
  const auto x = rig.ones(Tokens{2});
  BOOST_CHECK_EXCEPTION(norm(slice_rows<0, 2>(x)), Error, says("HeadNorm: expected rows at one constant distance"));
  BOOST_CHECK_NO_THROW(norm(x));
}
