// Checks ImageFolder on files written here: every kind of JPEG and PNG, damaged ones, cropping, resizing, labels.
// SPDX-License-Identifier: MIT
#include "written_images.hpp"

#include <sra/data/prefetch.hpp>
#include <sra/extra/image_folder.hpp>

#include <boost/test/unit_test.hpp>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

namespace {

namespace fs = std::filesystem;
using namespace written;
using Rgb = sra::Image<3, 8, 8>;

template <class Sample>
struct Read {
  std::vector<float> image = std::vector<float>(static_cast<std::size_t>(Sample::size), -9.0f);
  std::int32_t label = -1;
  Read(const sra::ImageFolder<Sample>& data, std::size_t i, std::uint64_t seed = 0) {
    data.read(i, sra::Rng(seed, sra::Purpose::data, 0, 0), {image, label});
  }
};

// What a folder with this one file reads.
template <class Sample = Rgb>
std::vector<float> read_one(const Bytes& file, const char* name = "a/one.png") {
  const Folder folder;
  folder.write(name, file);
  return Read<Sample>(sra::ImageFolder<Sample>(folder.path()), 0).image;
}

std::vector<float> values(const Bytes& bytes) {
  std::vector<float> out;
  for (const auto b : bytes) out.push_back(static_cast<float>(b) / 127.5f - 1);
  return out;
}

float worst(const std::vector<float>& a, const std::vector<float>& b) {
  BOOST_REQUIRE_EQUAL(a.size(), b.size());
  float w = 0;
  for (std::size_t i = 0; i < a.size(); ++i) w = std::max(w, std::fabs(a[i] - b[i]));
  return w;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(image_folder)

BOOST_AUTO_TEST_CASE(a_png_of_the_right_size_is_taken_as_it_is) {
  const auto pixels = noise(8 * 8 * 3);
  BOOST_TEST((read_one(png(pixels, 8, 8)) == values(pixels)));
  BOOST_TEST((read_one(png(pixels, 8, 8, {.interlace = PNG_INTERLACE_ADAM7})) == values(pixels)));
  BOOST_TEST((read_one(png(pixels, 8, 8), "a/png_named.jpg") == values(pixels)));
}

BOOST_AUTO_TEST_CASE(one_channel_is_the_weighted_sum_of_three) {
  using Gray = sra::Image<1, 8, 8>;
  const auto got = read_one<Gray>(png(filled(64, {200, 100, 50}), 8, 8));
  BOOST_TEST(worst(got, std::vector<float>(64, (0.299f * 200 + 0.587f * 100 + 0.114f * 50) / 127.5f - 1)) < 1e-6f);
  const auto gray = noise(64);
  BOOST_TEST(worst(read_one<Gray>(png(gray, 8, 8, {.type = PNG_COLOR_TYPE_GRAY})), values(gray)) < 1e-6f);
}

BOOST_AUTO_TEST_CASE(the_middle_is_cropped_to_the_ratio_of_the_sample) {
  const auto pixels = noise(20 * 8 * 3);
  Bytes middle;
  for (std::size_t y = 0; y < 8; ++y)
    middle.insert(middle.end(), pixels.begin() + std::ptrdiff_t((y * 20 + 6) * 3),
                  pixels.begin() + std::ptrdiff_t((y * 20 + 14) * 3));
  BOOST_TEST((read_one(png(pixels, 20, 8)) == values(middle)));
  const Bytes rows(pixels.begin() + 6 * 8 * 3, pixels.begin() + 14 * 8 * 3);
  BOOST_TEST((read_one(png(pixels, 8, 20)) == values(rows)));
  using Wide = sra::Image<3, 4, 8>;
  const Bytes half(pixels.begin() + 2 * 8 * 3, pixels.begin() + 6 * 8 * 3);
  BOOST_TEST((read_one<Wide>(png(Bytes(pixels.begin(), pixels.begin() + 8 * 8 * 3), 8, 8)) == values(half)));
}

BOOST_AUTO_TEST_CASE(resizing_keeps_constants_and_ramps) {
  for (const unsigned size : {1u, 2u, 3u, 7u, 9u, 13u, 40u, 100u}) {
    const auto got = read_one(png(filled(size * size, {10, 128, 250}), size, size));
    BOOST_TEST(worst(got, values(filled(64, {10, 128, 250}))) < 1e-5f);
  }
  for (const unsigned ratio : {2u, 3u, 4u}) {  // a ramp of 2 a pixel; away from the edges the cubic is symmetric
    Bytes ramp;
    const unsigned n = 8 * ratio;
    for (unsigned y = 0; y < n; ++y)
      for (unsigned x = 0; x < n; ++x) ramp.insert(ramp.end(), {std::uint8_t(2 * x), std::uint8_t(2 * y), 7});
    const auto got = read_one(png(ramp, n, n));
    for (unsigned y = 2; y < 6; ++y)
      for (unsigned x = 2; x < 6; ++x) {
        const auto centre = [&](unsigned i) {
          return (2 * (static_cast<float>(i * ratio) + 0.5f * static_cast<float>(ratio - 1))) / 127.5f - 1;
        };
        BOOST_TEST(std::fabs(got[(y * 8 + x) * 3] - centre(x)) < 1e-5f);
        BOOST_TEST(std::fabs(got[(y * 8 + x) * 3 + 1] - centre(y)) < 1e-5f);
      }
  }
}

// A widened cubic gives every phase of its period the same weight, so stripes of one in eight become an eighth.
BOOST_AUTO_TEST_CASE(shrinking_averages_instead_of_picking) {
  Bytes stripes;
  for (unsigned y = 0; y < 64; ++y)
    for (unsigned x = 0; x < 64; ++x) {
      const bool column = x % 8 == 4, row = y % 8 == 1;
      stripes.insert(stripes.end(), {std::uint8_t(column ? 255 : 0), std::uint8_t(row ? 255 : 0), 0});
    }
  const auto got = read_one(png(stripes, 64, 64));
  for (std::size_t y = 2; y < 6; ++y)
    for (std::size_t x = 2; x < 6; ++x)
      for (std::size_t c = 0; c < 2; ++c) BOOST_TEST(std::fabs(got[(y * 8 + x) * 3 + c] - (2 / 8.0f - 1)) < 1e-5f);
}

BOOST_AUTO_TEST_CASE(enlarging_is_smooth_and_stays_in_range) {
  Bytes step;
  for (unsigned y = 0; y < 4; ++y)
    for (unsigned x = 0; x < 4; ++x) step.insert(step.end(), 3, x < 2 ? 0 : 255);
  const auto got = read_one<sra::Image<3, 16, 16>>(png(step, 4, 4));
  for (const float v : got) BOOST_TEST((v >= -1 && v <= 1));  // the cubic itself overshoots
  for (std::size_t x = 6; x < 10; ++x) BOOST_TEST(got[(x - 1) * 3] <= got[x * 3]);
}

BOOST_AUTO_TEST_CASE(flipping_is_drawn_from_the_random_numbers) {
  const Folder folder;
  const auto pixels = noise(8 * 8 * 3);
  folder.write("a/one.png", png(pixels, 8, 8));
  const sra::ImageFolder<Rgb> plain(folder.path()), flipped(folder.path(), {.flip = true});
  const auto as_is = values(pixels);
  auto mirrored = as_is;
  for (std::size_t y = 0; y < 8; ++y)
    for (std::size_t x = 0; x < 8; ++x)
      for (std::size_t c = 0; c < 3; ++c) mirrored[(y * 8 + x) * 3 + c] = as_is[(y * 8 + 7 - x) * 3 + c];
  int times = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const auto got = Read<Rgb>(flipped, 0, seed).image;
    times += got == mirrored;
    BOOST_TEST((got == mirrored || got == as_is));
    BOOST_TEST((Read<Rgb>(plain, 0, seed).image == as_is));
  }
  BOOST_TEST(std::abs(times - 200) < 50);  // five deviations of 400 coins
}

BOOST_AUTO_TEST_CASE(labels_are_the_order_of_the_folders) {
  const Folder folder;
  const auto file = png(noise(8 * 8 * 3), 8, 8);
  for (const char* name :
       {"cat/2.png", "cat/10.jpg", "ant/x.JPG", "bee/.hidden.png", "bee/notes.txt", "dog/a.jpeg", ".git/a.png"})
    folder.write(name, file);
  folder.write("readme.png", file);
  fs::create_directory(folder.path() / "cat" / "folder.png");
  const sra::ImageFolder<Rgb> data(folder.path());
  static_assert(sra::Dataset<sra::ImageFolder<Rgb>> && sra::Finite<sra::ImageFolder<Rgb>>);
  BOOST_TEST(data.names() == (std::vector<std::string>{"ant", "bee", "cat", "dog"}), boost::test_tools::per_element());
  BOOST_TEST(data.classes() == 4);
  BOOST_REQUIRE(data.size() == 4u);
  const char* paths[] = {"ant/x.JPG", "cat/10.jpg", "cat/2.png", "dog/a.jpeg"};
  const int labels[] = {0, 2, 2, 3};
  for (std::size_t i = 0; i < 4; ++i) {
    BOOST_TEST(data.path(i) == folder.path() / paths[i]);
    BOOST_TEST(Read<Rgb>(data, i).label == labels[i]);
  }
}

BOOST_AUTO_TEST_CASE(folders_without_images_are_refused_with_a_sentence) {
  const Folder folder;
  const auto sentence = [](const fs::path& path) { return message([&] { sra::ImageFolder<Rgb>{path}; }); };
  const std::string here = folder.path().string();
  BOOST_TEST(sentence(folder.path() / "none") ==
             "ImageFolder: " + here + "/none: expected a folder, got nothing of that name");
  BOOST_TEST(sentence(folder.path()) == "ImageFolder: " + here + ": expected a folder for each class, found none");
  folder.write("loose.jpg", {});
  BOOST_TEST(sentence(folder.path() / "loose.jpg") ==
             "ImageFolder: " + here + "/loose.jpg: expected a folder, got something else");
  BOOST_TEST(sentence(folder.path()) == "ImageFolder: " + here + ": expected a folder for each class, found none");
  folder.write("a/text.txt", {});
  fs::create_directory(folder.path() / "b");
  BOOST_TEST(sentence(folder.path()) ==
             "ImageFolder: " + here + ": expected .jpg, .jpeg or .png files in the folders of 2 classes, found none");
  if (geteuid() == 0) return;  // root reads everything
  fs::permissions(folder.path() / "b", fs::perms::none);
  BOOST_TEST(sentence(folder.path()) ==
             "ImageFolder: " + here + "/b: expected a readable folder, got Permission denied");
  fs::permissions(folder.path() / "b", fs::perms::owner_all);
}

BOOST_AUTO_TEST_CASE(a_file_that_vanishes_is_unreadable) {
  const Folder folder;
  folder.write("a/one.png", png(noise(8 * 8 * 3), 8, 8));
  const sra::ImageFolder<Rgb> data(folder.path());
  fs::remove(folder.path() / "a/one.png");
  BOOST_TEST(message([&] { Read<Rgb>(data, 0); }) ==
             "ImageFolder: " + (folder.path() / "a/one.png").string() +
                 ": expected a readable image, got a file that cannot be opened");
}

BOOST_AUTO_TEST_CASE(unreadable_files_are_skipped_counted_and_named) {
  const Folder folder;
  for (int i = 0; i < 10; ++i)
    folder.write("a/" + std::to_string(i) + ".png", png(noise(12 * 9 * 3, static_cast<std::uint64_t>(i)), 12, 9));
  folder.write("a/3.png", {});
  folder.write("b/broken.jpg", {0xff, 0xd8, 0xff, 0xd9});
  const sra::ImageFolder<Rgb> data(folder.path());
  std::vector<std::vector<float>> all;
  for (const int threads : {0, 3}) {
    sra::Prefetcher prefetcher(data, {.batch = 11, .threads = threads});
    std::vector<float> images;
    for (index_t step = 0; step < 4; ++step) {
      const auto view = prefetcher.get(step).images();
      images.insert(images.end(), view.data, view.data + view.span());
    }
    const auto unreadable = prefetcher.unreadable();
    BOOST_TEST(unreadable.count == 2u);
    BOOST_REQUIRE(unreadable.names.size() == 2u);
    const std::string both = unreadable.names[0] + unreadable.names[1];
    BOOST_TEST(both.find("a/3.png: expected a readable image, got an empty file") != std::string::npos);
    BOOST_TEST(both.find("b/broken.jpg: expected a readable image, got a JPEG with an error") != std::string::npos);
    all.push_back(images);
  }
  BOOST_TEST((all[0] == all[1]));
}

BOOST_AUTO_TEST_CASE(a_folder_of_unreadable_files_is_an_error) {
  const Folder folder;
  for (int i = 0; i < 3; ++i) folder.write("a/" + std::to_string(i) + ".jpg", {});
  const sra::ImageFolder<Rgb> data(folder.path());
  sra::Prefetcher prefetcher(data, {.batch = 2, .threads = 1});
  BOOST_TEST(
      message([&] { prefetcher.get(0); })
          .starts_with("Prefetcher: expected a readable item, got 3 unreadable ones in a row, the last: ImageFolder: " +
                       folder.path().string() + "/a/"));
}

BOOST_AUTO_TEST_SUITE_END()
