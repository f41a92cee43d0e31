// Tests that files are replaced as a whole or not at all, and that maps refuse what is no file.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "file_size_limit.hpp"

#include <sra/io/file.hpp>

#include <boost/test/unit_test.hpp>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstring>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace sra;
using namespace sra::test;

BOOST_AUTO_TEST_SUITE(file)

BOOST_AUTO_TEST_CASE(atomic_write_makes_and_replaces_a_file) {
  const TemporaryFolder folder;
  for (const std::string contents : {"first", "", "the third, longer than the first"}) {
    atomic_write(folder / "a", [&](FileWriter& out) {
      out.write(std::string_view(contents).substr(0, 2 * contents.size() / 3));
      out.write(std::string_view(contents).substr(2 * contents.size() / 3));
      BOOST_TEST(out.written() == contents.size());
    });
    BOOST_TEST(read_text(folder / "a") == contents);
    BOOST_TEST(folder.entries() == 1u);
  }
}

BOOST_AUTO_TEST_CASE(a_name_without_a_folder_is_in_the_current_one) {
  const TemporaryFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  atomic_write("plain", [](FileWriter& out) { out.write("x"); });
  std::filesystem::current_path(before);
  BOOST_TEST(read_text(folder / "plain") == "x");
}

BOOST_AUTO_TEST_CASE(new_files_have_the_permissions_of_the_users_mask) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  atomic_write(folder / "a", [](FileWriter& out) { out.write("x"); });
  ::umask(before);
  struct stat status {};
  BOOST_REQUIRE(::stat((folder / "a").c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0640u);
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_file_and_no_temporary) {
  const TemporaryFolder folder;
  write_text(folder / "a", "old");
  const std::string big(10'000, 'x');
  const std::string message = [&] {
    const FileSizeLimit limit(25'000);
    return message_of<Error>([&] {
      atomic_write(folder / "a", [&](FileWriter& out) {
        for (int i = 0; i < 3; ++i) out.write(big);
      });
    });
  }();
  BOOST_TEST(message == text("atomic_write: ", (folder / "a").string(),
                             ": cannot write 10000 bytes at byte 20000: ", std::strerror(EFBIG)));
  BOOST_TEST(read_text(folder / "a") == "old");
  BOOST_TEST(folder.entries() == 1u);
  atomic_write(folder / "a", [&](FileWriter& out) { out.write(big); });
  BOOST_TEST(read_text(folder / "a") == big);
}

BOOST_AUTO_TEST_CASE(a_device_without_space_is_an_error) {
  const detail::Descriptor full = detail::open_file("/dev/full", O_WRONLY);
  BOOST_REQUIRE(static_cast<bool>(full));
  FileWriter out(full.get(), "/dev/full");
  BOOST_TEST(message_of<Error>([&] { out.write("x"); }) ==
             text("atomic_write: /dev/full: cannot write 1 bytes at byte 0: ", std::strerror(ENOSPC)));
}

BOOST_AUTO_TEST_CASE(an_exception_of_the_writer_is_passed_on_and_leaves_the_old_file) {
  const TemporaryFolder folder;
  write_text(folder / "a", "old");
  const auto save = [&] {
    atomic_write(folder / "a", [](FileWriter& out) {
      out.write("half");
      throw std::out_of_range("mine");
    });
  };
  BOOST_TEST(message_of<std::out_of_range>(save) == "mine");
  BOOST_TEST(read_text(folder / "a") == "old");
  BOOST_TEST(folder.entries() == 1u);
}

BOOST_AUTO_TEST_CASE(impossible_places_are_named) {
  const TemporaryFolder folder;
  const auto save = [](const std::filesystem::path& path) {
    return message_of<Error>([&] { atomic_write(path, [](FileWriter& out) { out.write("x"); }); });
  };
  BOOST_TEST(save(folder / "none/a") == text("atomic_write: ", (folder / "none/a").string(),
                                             ": cannot create a temporary file in ", (folder / "none").string(), ": ",
                                             std::strerror(ENOENT)));
  BOOST_TEST(save(folder.path()) ==
             text("atomic_write: ", folder.path().string(), ": expected the name of a file, got a folder"));
  BOOST_TEST(save("").find("got a folder") != std::string::npos);
  BOOST_TEST(folder.entries() == 0u);
}

BOOST_AUTO_TEST_CASE(the_file_is_whole_however_its_writer_is_killed) {
  const TemporaryFolder folder;
  const std::size_t size = 300'000;
  const auto save = [&](char c) {
    const std::string part(size / 10, c);
    atomic_write(folder / "a", [&](FileWriter& out) {
      for (int i = 0; i < 10; ++i) out.write(part);
    });
  };
  save('a');
  std::mt19937 random(7);
  std::size_t abandoned = 0;
  for (int round = 0; round < 60; ++round) {
    const pid_t child = ::fork();
    BOOST_REQUIRE(child >= 0);
    if (child == 0) {
      for (char c = 'a';; c = c == 'z' ? 'a' : static_cast<char>(c + 1)) save(c);
    }
    while (round == 0 &&
           read_text(folder / "a")[0] == 'a') {  // once, see that saving works at all, however slow the disk
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    std::this_thread::sleep_for(std::chrono::microseconds(1000 + random() % 20'000));
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    const std::string found = read_text(folder / "a");
    BOOST_TEST(found.size() == size);
    BOOST_TEST(found.find_first_not_of(found[0]) == std::string::npos);
    abandoned = folder.entries() - 1;
  }
  BOOST_TEST(remove_abandoned(folder.path()) == static_cast<index_t>(abandoned));
  BOOST_TEST(folder.entries() == 1u);
}

BOOST_AUTO_TEST_CASE(only_abandoned_temporaries_are_removed) {
  const TemporaryFolder folder;
  write_text(folder / ".a.1-2.sra-tmp", "left by a killed process");
  write_text(folder / ".other.tmp", "not ours");
  write_text(folder / "b.sra-tmp", "not ours");
  std::filesystem::create_directory(folder / ".c.sra-tmp");
  atomic_write(folder / "a", [&](FileWriter& out) {
    out.write("still being written");
    BOOST_TEST(folder.entries() == 5u);
    BOOST_TEST(remove_abandoned(folder.path()) == 1);
  });
  BOOST_TEST(read_text(folder / "a") == "still being written");
  BOOST_TEST(!std::filesystem::exists(folder / ".a.1-2.sra-tmp"));
  BOOST_TEST(folder.entries() == 4u);
  BOOST_TEST(remove_abandoned(folder / "none") == 0);
}

BOOST_AUTO_TEST_CASE(threads_that_write_the_same_file_do_not_mix) {
  const TemporaryFolder folder;
  const auto work = [&](char c) {
    const std::string half(20'000, c);
    for (int i = 0; i < 20; ++i) {
      atomic_write(folder / "a", [&](FileWriter& out) {
        out.write(half);
        remove_abandoned(folder.path());
        out.write(half);
      });
    }
  };
  std::thread other([&] { work('x'); });
  work('y');
  other.join();
  const std::string found = read_text(folder / "a");
  BOOST_TEST(found.size() == 40'000u);
  BOOST_TEST(found.find_first_not_of(found[0]) == std::string::npos);
  BOOST_TEST(folder.entries() == 1u);
}

BOOST_AUTO_TEST_CASE(a_map_shows_the_bytes_and_can_be_moved) {
  const TemporaryFolder folder;
  write_text(folder / "a", std::string("by\0tes", 6));
  write_text(folder / "empty", "");
  const auto contents = [](const MappedFile& map) {
    return std::string(reinterpret_cast<const char*>(map.bytes().data()), map.bytes().size());
  };
  MappedFile first(folder / "a");
  MappedFile second(std::move(first));
  MappedFile third(folder / "empty");
  BOOST_TEST(third.bytes().size() == 0u);
  third = std::move(second);
  BOOST_TEST(contents(third) == std::string("by\0tes", 6));
  atomic_write(folder / "a", [](FileWriter& out) { out.write("new"); });
  BOOST_TEST(contents(third) == std::string("by\0tes", 6));
  BOOST_TEST(contents(MappedFile(folder / "a")) == "new");
}

BOOST_AUTO_TEST_CASE(a_map_refuses_what_is_no_file) {
  const TemporaryFolder folder;
  BOOST_REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  const auto open = [](const std::filesystem::path& path) { return message_of<Error>([&] { MappedFile map(path); }); };
  BOOST_TEST(open(folder / "none") ==
             text("MappedFile: ", (folder / "none").string(), ": cannot open: ", std::strerror(ENOENT)));
  BOOST_TEST(open(folder.path()) == text("MappedFile: ", folder.path().string(), ": expected a file, got a folder"));
  BOOST_TEST(open(folder / "fifo").find("no regular file") != std::string::npos);
  write_text(folder / "secret", "x");
  std::filesystem::permissions(folder / "secret", std::filesystem::perms::none);
  if (::geteuid() != 0) BOOST_TEST(open(folder / "secret").find(std::strerror(EACCES)) != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
