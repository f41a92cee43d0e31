// Tests what a trainer says when its memory does not suffice: what was needed, and what would fit.
// SPDX-License-Identifier: MIT
#include "tiny_run.hpp"

#include <boost/test/unit_test.hpp>

#include <algorithm>
#include <cstddef>
#include <string>
#include <utility>

namespace {

using sra::index_t;
using sra::test::Tiny;

/// A CPU with so many bytes.
class Small : public sra::Cpu {
 public:
  static inline std::size_t limit = 0;
  using Cpu::Cpu;

  void* allocate(std::size_t bytes) {
    if (bytes > available()) throw sra::OutOfMemory("Small: expected memory, got none");
    void* p = Cpu::allocate(bytes);
    taken_ += bytes;
    return p;
  }
  void release(void* p, std::size_t bytes) {
    if (p) taken_ -= bytes;
    Cpu::release(p, bytes);
  }
  std::size_t available() const { return limit - std::min(limit, taken_); }

 private:
  std::size_t taken_ = 0;
};

template <class Model>
using Trainer = sra::Trainer<Model, sra::SRALoss<sra::Layer<1>, sra::Layer<2>>, Small, float>;
using Options = Trainer<Tiny>::Options;

constexpr std::size_t unlimited = std::size_t{1} << 40;
constexpr std::size_t losses = 1024;  // of a micro-batch, beside what is planned

Options options(index_t batch, index_t accumulate) {
  return {.batch = batch, .accumulate = accumulate, .threads = 1, .quiet = true};
}

std::size_t planned(index_t batch, index_t accumulate) {
  Small::limit = unlimited;
  return Trainer<Tiny>(options(batch, accumulate)).memory_plan().total();
}

/// Trains for a step with so much memory.  @return what the error says, or ""
template <class Model = Tiny>
std::string complaint(std::size_t limit, typename Trainer<Model>::Options o) {
  Small::limit = limit;
  const sra::test::Items items;
  try {
    Trainer<Model> t(std::move(o));
    for (auto step : t.train(items, 1)) (void)step;
    return "";
  } catch (const sra::OutOfMemory& e) {
    return e.what();
  }
}

constexpr const char* hint = "; a higher .recompute in the model's config needs less";

std::string sentence(std::size_t needed, std::size_t available, const std::string& rest) {
  return "Trainer: memory " + sra::memory_text(needed) + " needed, " + sra::memory_text(available) +
         " available: " + rest;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(memory_advice)

/// 12 samples: micro-batches of 12, 6, 4, 3, 2 and 1.
BOOST_AUTO_TEST_CASE(the_largest_micro_batch_that_fits_is_named_and_fits) {
  const index_t divisors[] = {1, 2, 3, 4, 6, 12};
  for (std::size_t i = 1; i < std::size(divisors); ++i) {
    const index_t fits = divisors[i];
    const std::size_t limit = planned(12, fits) + losses, needed = planned(12, 1);
    BOOST_TEST_REQUIRE(limit < planned(12, divisors[i - 1]));
    const std::string said = complaint(limit, options(12, 1));
    const std::string rest =
        "accumulate = " + std::to_string(fits) + " would need " + sra::memory_text(planned(12, fits)) + hint;
    BOOST_TEST(said.find("Trainer: memory " + sra::memory_text(needed) + " needed, ") == 0u, said);
    BOOST_TEST(said.ends_with(" available: " + rest), said);
    BOOST_TEST(complaint(limit, options(12, fits)) == "");
  }
}

BOOST_AUTO_TEST_CASE(what_is_available_is_what_the_run_may_have_in_all) {
  const std::size_t limit = planned(12, 3);
  const std::string said = complaint(limit, options(12, 1));
  // The losses of a micro-batch took some of it, less than a digit that is written.
  const std::string all = sra::memory_text(limit), less = sra::memory_text(limit - losses);
  BOOST_TEST(
      (said.find(all + " available") != std::string::npos || said.find(less + " available") != std::string::npos),
      said);
}

BOOST_AUTO_TEST_CASE(that_nothing_fits_is_said) {
  const std::size_t least = planned(12, 12);
  BOOST_TEST(complaint(least / 2, options(12, 2)) ==
             sentence(planned(12, 2), least / 2, "even accumulate = 12 would need " + sra::memory_text(least) + hint));
  BOOST_TEST(complaint(least / 2, options(12, 12)) ==
             sentence(least, least / 2, std::string("a micro-batch has 1 sample already") + hint));
}

namespace {

constexpr sra::DiTConfig frugal() {
  sra::DiTConfig c = sra::test::tiny;
  c.recompute = sra::Recompute::block;
  return c;
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_highest_level_of_recomputation_is_not_recommended) {
  using Frugal = sra::SiT<frugal(), sra::Classes<3>>;
  const std::string said =
      complaint<Frugal>(planned(1, 1) / 8, Trainer<Frugal>::Options{.batch = 4, .threads = 1, .quiet = true});
  BOOST_TEST(said.find("even accumulate = 4 would need ") != std::string::npos, said);
  BOOST_TEST(said.find("recompute") == std::string::npos, said);
}

BOOST_AUTO_TEST_CASE(a_run_that_fits_goes_on_in_the_same_process) {
  Small::limit = planned(12, 2) + losses;
  const sra::test::Items items;
  Trainer<Tiny> t(options(12, 2));
  for (auto step : t.train(items, 1)) (void)step;
  for (auto step : t.train(items, 3)) (void)step;
  BOOST_TEST(t.step_number() == 3);
}

BOOST_AUTO_TEST_CASE(amounts_are_written_with_one_digit_behind_the_point) {
  BOOST_TEST(sra::memory_text(std::size_t{3} << 29) == "1.5 GiB");
  BOOST_TEST(sra::memory_text(std::size_t{5} << 18) == "1.2 MiB");
  BOOST_TEST(sra::memory_text((std::size_t{1} << 30) - 1) == "1024.0 MiB");
}

BOOST_AUTO_TEST_SUITE_END()
