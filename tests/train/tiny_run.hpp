// What the tests of training share: a tiny model, samples for it, a small data set, and bits to compare.
// SPDX-License-Identifier: MIT
#pragma once

#include "samples.hpp"

#include <sra/sra.hpp>

#include <boost/test/unit_test.hpp>

#include <bit>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace sra::test {

inline constexpr DiTConfig tiny{
    .height = 8, .width = 8, .channels = 3, .patch = 4, .hidden = 16, .depth = 3, .heads = 2};
using Tiny = SiT<tiny, Classes<3>>;

}  // namespace sra::test

#ifndef __CUDACC__  // a program for a GPU is one source
extern SRA_INSTANTIATE(sra::test::Tiny);
extern SRA_INSTANTIATE(sra::test::Tiny, sra::Cpu, sra::bf16);
#endif

namespace sra::test {

template <class Model = Tiny>
struct Samples;

/// A finite data set: item i is noise of its own around a brightness of its class.
struct Items {
  using Sample = Image<3, 8, 8>;
  std::size_t items = 13;
  std::size_t size() const { return items; }
  int classes() const { return 3; }
  void read(std::size_t i, Rng rng, Row<Sample> out) const {
    out.label = static_cast<std::int32_t>(i % 3);
    for (std::size_t k = 0; k < out.image.size(); ++k)
      out.image[k] = 0.3f * static_cast<float>(out.label - 1) + 0.5f * rng.normal(k);
  }
};

/// Gives every parameter and every average values of its own, so that no branch of the model is zero.
template <class Trainer>
void randomise(Trainer& trainer, double scale = 0.2) {
  using W = typename Trainer::W;
  auto& store = trainer.engine().store();
  for (std::size_t p = 0; p < store.parameters().size(); ++p) {
    const ParamInfo& info = store.parameters()[p];
    for (int which = 0; which <= store.emas(); ++which) {
      W* values = (which == 0 ? store.master() : store.ema(which - 1)) + info.offset;
      const Rng rng(7, Purpose::user, which, p);
      for (index_t i = 0; i < info.size; ++i)
        values[i] += static_cast<W>((which == 0 ? scale : scale / 2) * rng.normal_double(i));
    }
  }
}

/// Copies of the buffers of a trainer, to be compared bit for bit.
template <class W>
struct State {
  std::vector<std::vector<W>> buffers;  ///< values, first moments, second moments, then the averages
  index_t step = 0;

  bool operator==(const State& other) const {
    for (std::size_t b = 0; b < buffers.size(); ++b)
      for (std::size_t i = 0; i < buffers[b].size(); ++i)
        if (bits(buffers[b][i]) != bits(other.buffers[b][i])) return false;
    return true;
  }

 private:
  static auto bits(W x) { return std::bit_cast<std::conditional_t<sizeof(W) == 8, std::uint64_t, std::uint32_t>>(x); }
};

template <class Trainer>
State<typename Trainer::W> state_of(const Trainer& trainer) {
  using W = typename Trainer::W;
  const auto& store = trainer.engine().store();
  State<W> state{{}, trainer.step_number()};
  const auto add = [&](const W* data) { state.buffers.emplace_back(data, data + store.size()); };
  for (const W* data : {store.master(), store.first_moment(), store.second_moment()}) add(data);
  for (int i = 0; i < store.emas(); ++i) add(store.ema(i));
  return state;
}

/// The gradients of all parameters, padding included.
template <class Trainer>
std::vector<typename Trainer::W> gradients_of(const Trainer& trainer) {
  const auto& store = trainer.engine().store();
  return {store.gradient(), store.gradient() + store.size()};
}

/// Whether an error is one sentence that holds all of the words.
inline auto says(std::vector<std::string> words) {
  return [words](const std::exception& e) {
    const std::string_view message = e.what();
    BOOST_TEST_MESSAGE(message);
    for (const std::string& word : words)
      if (message.find(word) == std::string_view::npos) return false;
    return message.find('\n') == std::string_view::npos;
  };
}

}  // namespace sra::test
