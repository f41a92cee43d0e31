// Checks that batches are the same for any number of threads and any order of asking, and what happens to bad items.
// SPDX-License-Identifier: MIT
#include <sra/data/prefetch.hpp>

#include <boost/test/unit_test.hpp>

#include <atomic>
#include <chrono>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace {

using sra::index_t;
using Sample = sra::Image<2, 3, 4>;

// Writes the item's number, and its random numbers behind it.
void write(std::size_t i, sra::Rng rng, sra::Row<Sample> out) {
  for (std::size_t k = 0; k < out.image.size(); ++k) out.image[k] = k == 0 ? static_cast<float>(i) : rng.uniform(k);
  out.label = static_cast<std::int32_t>(i % 7);
}

struct Endless {
  using Sample = ::Sample;
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const { write(i, rng, out); }
};

struct Numbers {
  using Sample = ::Sample;
  std::size_t items;
  std::size_t size() const { return items; }
  int classes() const { return 7; }
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    if (i % 3 == 0) std::this_thread::sleep_for(std::chrono::microseconds(50));  // rows end out of order
    write(i, rng, out);
  }
};

// Items for which bad(i) holds are unreadable.
template <class Bad>
struct Holes {
  using Sample = ::Sample;
  std::size_t items;
  Bad bad;
  std::size_t size() const { return items; }
  void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
    if (bad(i)) throw sra::UnreadableSample(sra::text("holes: item ", i, " is broken"));
    write(i, rng, out);
  }
};
template <class Bad>
Holes(std::size_t, Bad) -> Holes<Bad>;

static_assert(sra::Dataset<Endless> && sra::endless<Endless> && !sra::Finite<Endless>);
static_assert(sra::Dataset<Numbers> && !sra::endless<Numbers>);
static_assert(!sra::Dataset<int>);

struct Copy {
  std::vector<float> images;
  std::vector<std::int32_t> labels;
  bool operator==(const Copy&) const = default;
};

Copy copy(const sra::Batch<Sample>& batch) {
  const auto view = batch.images();
  return {std::vector(view.data, view.data + view.span()), std::vector(batch.labels().begin(), batch.labels().end())};
}

template <class D>
std::vector<Copy> steps(const D& data, sra::PrefetchOptions options, index_t first, index_t count) {
  sra::Prefetcher prefetcher(data, options);
  std::vector<Copy> all;
  for (index_t i = 0; i < count; ++i) all.push_back(copy(prefetcher.get(first + i)));
  return all;
}

template <class F>
std::string message(F&& f) {
  try {
    f();
  } catch (const sra::Error& e) {
    return e.what();
  }
  return "nothing was thrown";
}

std::vector<std::size_t> items_of(const Copy& c) {
  std::vector<std::size_t> items;
  for (std::size_t b = 0; b < c.labels.size(); ++b)
    items.push_back(static_cast<std::size_t>(c.images[b * static_cast<std::size_t>(Sample::size)]));
  return items;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(prefetch)

BOOST_AUTO_TEST_CASE(threads_and_depth_do_not_change_a_batch) {
  const Numbers data{50};
  const auto inline_read = steps(data, {.seed = 4, .batch = 7, .threads = 0}, 0, 30);
  for (const int threads : {1, 2, 5})
    for (const int ahead : {0, 1, 4})
      BOOST_TEST((steps(data, {.seed = 4, .batch = 7, .threads = threads, .ahead = ahead}, 0, 30) == inline_read));
  BOOST_TEST((steps(data, {.seed = 5, .batch = 7, .threads = 1}, 0, 30) != inline_read));
}

BOOST_AUTO_TEST_CASE(a_run_can_start_at_any_step) {
  const Numbers data{50};
  const sra::PrefetchOptions options{.seed = 4, .batch = 7, .threads = 2};
  const auto all = steps(data, options, 0, 30);
  BOOST_TEST((steps(data, options, 13, 17) == std::vector(all.begin() + 13, all.end())));
}

BOOST_AUTO_TEST_CASE(steps_can_be_asked_for_in_any_order) {
  const Numbers data{50};
  const auto all = steps(data, {.seed = 4, .batch = 7, .threads = 0}, 0, 20);
  for (const int threads : {0, 1, 3}) {
    sra::Prefetcher prefetcher(data, {.seed = 4, .batch = 7, .threads = threads});
    for (const index_t step : {5, 6, 6, 3, 19, 0, 1, 2, 18, 17})
      BOOST_TEST((copy(prefetcher.get(step)) == all[static_cast<std::size_t>(step)]));
  }
}

BOOST_AUTO_TEST_CASE(an_epoch_visits_every_item_once) {
  const Numbers data{50};
  std::vector<std::size_t> items;
  for (const auto& c : steps(data, {.seed = 1, .batch = 4, .threads = 2}, 0, 25))
    for (const auto i : items_of(c)) items.push_back(i);
  const auto middle = items.begin() + 50;  // an epoch ends within a batch
  BOOST_TEST(std::set(items.begin(), middle).size() == 50u);
  BOOST_TEST(std::set(middle, items.end()).size() == 50u);
  BOOST_TEST((std::vector(items.begin(), middle) != std::vector(middle, items.end())));
}

BOOST_AUTO_TEST_CASE(random_numbers_differ_between_samples_and_epochs) {
  std::set<float> seen;
  const Numbers data{3};
  for (const auto& c : steps(data, {.batch = 3, .threads = 1}, 0, 20))
    for (std::size_t b = 0; b < 3; ++b) seen.insert(c.images[b * static_cast<std::size_t>(Sample::size) + 1]);
  BOOST_TEST(seen.size() > 57u);  // 60 draws of 24 bits
}

BOOST_AUTO_TEST_CASE(an_endless_source_is_read_in_order) {
  const auto all = steps(Endless{}, {.batch = 5, .threads = 2}, 3, 2);
  BOOST_TEST((items_of(all[0]) == std::vector<std::size_t>{15, 16, 17, 18, 19}));
  BOOST_TEST((items_of(all[1]) == std::vector<std::size_t>{20, 21, 22, 23, 24}));
}

BOOST_AUTO_TEST_CASE(ranks_and_micro_batches_share_out_the_same_samples) {
  const Numbers data{50};
  std::vector<float> whole, ranks, micro;
  const auto append = [](std::vector<float>& to, const Copy& c) {
    to.insert(to.end(), c.images.begin(), c.images.end());
  };
  for (const auto& c : steps(data, {.seed = 4, .batch = 6, .threads = 1}, 0, 10)) append(whole, c);
  for (const auto& c : steps(data, {.seed = 4, .batch = 2, .threads = 1}, 0, 30)) append(micro, c);
  std::vector<std::vector<Copy>> rank;
  for (index_t r = 0; r < 3; ++r)
    rank.push_back(steps(data, {.seed = 4, .batch = 2, .threads = 1, .rank = r, .world = 3}, 0, 10));
  for (std::size_t step = 0; step < 10; ++step)
    for (const auto& r : rank) append(ranks, r[step]);
  BOOST_TEST((ranks == whole));
  BOOST_TEST((micro == whole));
}

BOOST_AUTO_TEST_CASE(unreadable_items_are_replaced_by_the_next_counted_and_named) {
  const Holes data{20, [](std::size_t i) { return i == 4 || i == 5 || i == 19; }};
  const auto inline_read = steps(data, {.batch = 5, .threads = 0}, 0, 8);
  BOOST_TEST((steps(data, {.batch = 5, .threads = 3}, 0, 8) == inline_read));
  std::vector<int> times(20);
  for (const auto& c : inline_read)
    for (const auto i : items_of(c)) ++times[i];
  for (std::size_t i = 0; i < 20; ++i)
    BOOST_TEST(times[i] == (i == 6 ? 6 : i == 0 ? 4 : i == 4 || i == 5 || i == 19 ? 0 : 2));

  sra::Prefetcher prefetcher(data, {.batch = 5, .threads = 2});
  for (index_t step = 0; step < 8; ++step) prefetcher.get(step);
  const auto unreadable = prefetcher.unreadable();
  BOOST_TEST(unreadable.count == 3u);
  BOOST_TEST((std::set(unreadable.names.begin(), unreadable.names.end()) ==
              std::set<std::string>{"holes: item 4 is broken", "holes: item 5 is broken", "holes: item 19 is broken"}));
}

BOOST_AUTO_TEST_CASE(the_first_hundred_unreadable_items_are_named) {
  const Holes data{1000, [](std::size_t i) { return i % 2 == 1; }};
  sra::Prefetcher prefetcher(data, {.batch = 100, .threads = 0});
  for (index_t step = 0; step < 10; ++step) prefetcher.get(step);
  BOOST_TEST(prefetcher.unreadable().count == 500u);
  BOOST_TEST(prefetcher.unreadable().names.size() == 100u);
}

BOOST_AUTO_TEST_CASE(too_many_unreadable_items_in_a_row_are_an_error) {
  const auto all = [](std::size_t) { return true; };
  const Holes three{3, all};
  for (const int threads : {0, 2}) {
    sra::Prefetcher few(three, {.batch = 1, .threads = threads});
    const auto sentence = message([&] { few.get(0); });
    BOOST_TEST(sentence.starts_with(
        "Prefetcher: expected a readable item, got 3 unreadable ones in a row, the last: holes: item "));
  }
  const Holes many{1000, all};
  sra::Prefetcher prefetcher(many, {.batch = 1, .threads = 1});
  BOOST_TEST(message([&] { prefetcher.get(0); }).find("got 100 unreadable ones") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(exceptions_arrive_as_they_are_and_from_the_lowest_row) {
  struct Thrower : Endless {
    void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
      if (i == 12) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      if (i >= 12 && i < 15) throw std::out_of_range("item " + std::to_string(i));
      write(i, rng, out);
    }
  };
  const Thrower data;
  for (const int threads : {0, 1, 4}) {
    sra::Prefetcher prefetcher(data, {.batch = 5, .threads = threads});
    BOOST_CHECK_NO_THROW(prefetcher.get(1));
    for (int again = 0; again < 2; ++again)
      BOOST_CHECK_EXCEPTION(prefetcher.get(2), std::out_of_range,
                            [](const auto& e) { return e.what() == std::string("item 12"); });
    BOOST_TEST((items_of(copy(prefetcher.get(3))) == std::vector<std::size_t>{15, 16, 17, 18, 19}));
  }
}

BOOST_AUTO_TEST_CASE(values_that_are_not_finite_or_not_written_are_named) {
  struct Bad : Endless {
    float value;
    explicit Bad(float v) : value(v) {}
    void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
      write(i, rng, out);
      if (i == 17) out.image[2 * 8 + 1 * 2 + 1] = value;  // [3, 4, 2]
    }
  };
  struct Lazy : Endless {
    void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
      if (i != 17) write(i, rng, out);
    }
  };
  const auto sentence = [](const auto& data) {
    sra::Prefetcher prefetcher(data, {.batch = 5, .threads = 1});
    return message([&] { prefetcher.get(3); });
  };
  const float inf = std::numeric_limits<float>::infinity();
  BOOST_TEST(sentence(Bad(std::nanf(""))) == "data: item 17: expected finite values, got nan at [y, x, c] = [2, 1, 1]");
  BOOST_TEST(sentence(Bad(inf)) == "data: item 17: expected finite values, got inf at [y, x, c] = [2, 1, 1]");
  BOOST_TEST(sentence(Bad(-inf)) == "data: item 17: expected finite values, got -inf at [y, x, c] = [2, 1, 1]");
  BOOST_TEST(sentence(Bad(std::numeric_limits<float>::max())) == "nothing was thrown");
  BOOST_TEST(sentence(Lazy{}) == "data: item 17: expected finite values, got nan at [y, x, c] = [0, 0, 0]");
}

BOOST_AUTO_TEST_CASE(it_can_be_destroyed_at_any_time) {
  const Numbers data{50};
  for (int i = 0; i < 40; ++i) {
    sra::Prefetcher prefetcher(data, {.batch = 8, .threads = 3, .ahead = 3});
    if (i % 4 > 0) prefetcher.get(i);
    if (i % 4 > 1) prefetcher.get(i + 1);
    if (i % 4 > 2) std::this_thread::sleep_for(std::chrono::microseconds(100 * (i % 5)));
  }
}

BOOST_AUTO_TEST_CASE(batches_are_prepared_ahead) {
  struct Counting : Endless {
    std::atomic<int>* reads;
    void read(std::size_t i, sra::Rng rng, sra::Row<Sample> out) const {
      write(i, rng, out);
      ++*reads;
    }
  };
  std::atomic<int> reads = 0;
  Counting data;
  data.reads = &reads;
  sra::Prefetcher prefetcher(data, {.batch = 5, .threads = 2, .ahead = 3});
  prefetcher.get(0);
  while (reads < 20) std::this_thread::yield();  // hangs here if nothing is prepared
  std::this_thread::sleep_for(std::chrono::milliseconds(5));
  BOOST_TEST(reads == 20);  // and no more than asked for
}

BOOST_AUTO_TEST_CASE(bad_options_are_refused_with_a_sentence) {
  const Numbers data{5}, none{0};
  const auto sentence = [](const Numbers& d, sra::PrefetchOptions o) {
    return message([&] { sra::Prefetcher(d, o); });
  };
  BOOST_TEST(sentence(data, {.batch = 0}) == "Prefetcher: expected a batch >= 1, got 0");
  BOOST_TEST(sentence(data, {.threads = -1}) == "Prefetcher: expected threads >= 0, got -1");
  BOOST_TEST(sentence(data, {.ahead = -1}) == "Prefetcher: expected ahead >= 0, got -1");
  BOOST_TEST(sentence(data, {.rank = 2, .world = 2}) == "Prefetcher: expected 0 <= rank < world, got rank 2 of 2");
  BOOST_TEST(sentence(none, {}) == "Prefetcher: expected a data set of at least one item, got an empty one");
  sra::Prefetcher prefetcher(data, {});
  BOOST_TEST(message([&] { prefetcher.get(-1); }) == "Prefetcher: expected a step >= 0, got -1");
}

BOOST_AUTO_TEST_CASE(labels_are_checked_with_a_sentence) {
  BOOST_CHECK_NO_THROW(sra::check_label(9, 10, "data: item 17"));
  BOOST_TEST(message([] { sra::check_label(10, 10, "data: item 17"); }) ==
             "data: item 17: expected a label in [0, 10), got 10");
  BOOST_TEST(message([] { sra::check_label(-1, 10, "data: item 17"); }) ==
             "data: item 17: expected a label in [0, 10), got -1");
  BOOST_TEST(sra::class_count(Numbers{1}).value() == 7);
  BOOST_TEST(!sra::class_count(Endless{}).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
