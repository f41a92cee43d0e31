// Tests the log: what a line looks like, that it reads back exactly, and that no half line stays.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "file_size_limit.hpp"

#include <sra/io/json_lines.hpp>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <sstream>
#include <string>
#include <vector>

using namespace sra;
using namespace sra::test;

BOOST_AUTO_TEST_SUITE(json_lines)

BOOST_AUTO_TEST_CASE(a_line_has_every_kind_of_value) {
  const TemporaryFolder folder;
  JsonLines log(folder / "log");
  const std::string name = "n\"1\"";
  log.write({{"step", 12}, {"loss", 0.5}, {"note", "x"}});
  log.write({{"yes", true}, {"no", false}, {"name", name}, {"view", std::string_view("é\n")}});
  log.write({{"min", std::numeric_limits<std::int64_t>::min()}, {"max", std::numeric_limits<std::uint64_t>::max()}});
  log.write({{"float", 0.1f}, {"double", 0.1}, {"large", 1e300}, {"whole", 3.0}});
  log.write({{"nan", std::numeric_limits<double>::quiet_NaN()}, {"inf", -std::numeric_limits<float>::infinity()}});
  log.write({});
  log.write({{"a", "b"}});
  BOOST_TEST(read_text(folder / "log") ==
             "{\"step\":12,\"loss\":0.5,\"note\":\"x\"}\n"
             "{\"yes\":true,\"no\":false,\"name\":\"n\\\"1\\\"\",\"view\":\"é\\n\"}\n"
             "{\"min\":-9223372036854775808,\"max\":18446744073709551615}\n"
             "{\"float\":0.1,\"double\":0.1,\"large\":1e+300,\"whole\":3}\n"
             "{\"nan\":null,\"inf\":null}\n"
             "{}\n"
             "{\"a\":\"b\"}\n");
}

BOOST_AUTO_TEST_CASE(doubles_read_back_as_the_same_number) {
  const TemporaryFolder folder;
  JsonLines log(folder / "log");
  std::mt19937_64 random(1);
  std::vector<double> values = {5e-324, 1.7976931348623157e308, -0.0, 1.0 / 3};
  while (values.size() < 500) {
    double x;
    const std::uint64_t bits = random();
    std::memcpy(&x, &bits, sizeof x);
    if (std::isfinite(x)) values.push_back(x);
  }
  for (const double x : values) log.write({{"x", x}});
  std::istringstream lines(read_text(folder / "log"));
  std::string line;
  for (const double x : values) {
    BOOST_TEST_REQUIRE(static_cast<bool>(std::getline(lines, line)));
    const double read = nlohmann::json::parse(line)["x"].get<double>();
    BOOST_TEST(read == x);
  }
  BOOST_TEST(!std::getline(lines, line));
}

BOOST_AUTO_TEST_CASE(each_line_is_in_the_file_at_once) {
  const TemporaryFolder folder;
  JsonLines log(folder / "log");
  log.write({{"a", 1}});
  BOOST_TEST(read_text(folder / "log") == "{\"a\":1}\n");
}

BOOST_AUTO_TEST_CASE(a_half_line_is_cut_off_on_opening) {
  const TemporaryFolder folder;
  const std::string lines[] = {"", "{\"a\":1}\n", "{\"a\":1}\n{\"b\":2}\n", std::string(10'000, 'x') + "\n",
                               std::string(4095, 'x') + "\n"};
  const std::string halves[] = {
      "", "{\"c", std::string(4095, 'y'), std::string(4096, 'y'), std::string(4097, 'y'), std::string(20'000, 'y')};
  for (const std::string& whole : lines) {
    for (const std::string& half : halves) {
      write_text(folder / "log", whole + half);
      JsonLines log(folder / "log");
      BOOST_TEST((read_text(folder / "log") == whole));
      log.write({{"d", 3}});
      BOOST_TEST((read_text(folder / "log") == whole + "{\"d\":3}\n"));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_an_error_and_leaves_whole_lines) {
  const TemporaryFolder folder;
  JsonLines log(folder / "log");
  log.write({{"a", 1}});
  const std::string message = [&] {
    const FileSizeLimit limit(20);
    return message_of<Error>([&] { log.write({{"long", "text that does not fit any more"}}); });
  }();
  BOOST_TEST(message ==
             text("LineFile: ", (folder / "log").string(), ": cannot write 43 bytes: ", std::strerror(EFBIG)));
  BOOST_TEST(read_text(folder / "log") == "{\"a\":1}\n");
  log.write({{"b", 2}});
  BOOST_TEST(read_text(folder / "log") == "{\"a\":1}\n{\"b\":2}\n");
  JsonLines full("/dev/full");
  BOOST_TEST(message_of<Error>([&] {
               full.write({{"a", 1}});
             }) == text("LineFile: /dev/full: cannot write 8 bytes: ", std::strerror(ENOSPC)));
}

BOOST_AUTO_TEST_CASE(a_log_that_cannot_be_opened_is_named) {
  const TemporaryFolder folder;
  BOOST_TEST(message_of<Error>([&] { JsonLines log(folder / "none/log"); }) ==
             text("LineFile: ", (folder / "none/log").string(), ": cannot open: ", std::strerror(ENOENT)));
  BOOST_TEST(message_of<Error>([&] { JsonLines log(folder.path()); }) ==
             text("LineFile: ", folder.path().string(), ": cannot open: ", std::strerror(EISDIR)));
}

BOOST_AUTO_TEST_SUITE_END()
