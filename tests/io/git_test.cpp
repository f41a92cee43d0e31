// Tests that the commit is found as git's files say it: on a branch, packed, detached, in a further work tree.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/io/git.hpp>

#include <boost/test/unit_test.hpp>

#include <filesystem>
#include <string>

using sra::commit_of;
using sra::test::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

const std::string commit(40, 'a'), other(40, 'b'), long_commit(64, 'c');

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  sra::test::write_text(path, text);
}

}  // namespace

BOOST_AUTO_TEST_SUITE(git)

BOOST_AUTO_TEST_CASE(of_a_branch_from_a_folder_below) {
  const TemporaryFolder folder;
  write(folder / ".git/HEAD", "ref: refs/heads/a/b\n");
  write(folder / ".git/refs/heads/a/b", commit + "\n");
  write(folder / "x/y/file", "");
  BOOST_TEST(commit_of(folder.path()) == commit);
  BOOST_TEST(commit_of(folder / "x/y") == commit);
}

BOOST_AUTO_TEST_CASE(of_a_packed_branch_and_of_none) {
  const TemporaryFolder folder;
  write(folder / ".git/HEAD", "ref: refs/heads/main\n");
  write(folder / ".git/packed-refs",
        "# pack-refs with: peeled\n" + other + " refs/heads/main2\n" + commit + " refs/heads/main\n^" + other + "\n");
  BOOST_TEST(commit_of(folder.path()) == commit);
  write(folder / ".git/HEAD", long_commit + "\n");
  BOOST_TEST(commit_of(folder.path()) == long_commit);
}

BOOST_AUTO_TEST_CASE(of_a_further_work_tree) {
  const TemporaryFolder folder;
  write(folder / "main/.git/refs/heads/other", other);
  write(folder / "main/.git/worktrees/w/HEAD", "ref: refs/heads/other");
  write(folder / "main/.git/worktrees/w/commondir", "../..\n");
  write(folder / "w/.git", "gitdir: " + (folder / "main/.git/worktrees/w").string() + "\n");
  BOOST_TEST(commit_of(folder / "w") == other);
  write(folder / "v/.git", "gitdir: ../main/.git/worktrees/w\n");
  BOOST_TEST(commit_of(folder / "v") == other);
}

BOOST_AUTO_TEST_CASE(of_nothing_that_is_as_expected) {
  const TemporaryFolder folder;
  const auto found = [&] { return commit_of(folder.path()); };
  write(folder / ".git", "nonsense");
  BOOST_TEST(found() == "");
  fs::remove(folder / ".git");
  for (const std::string& head : {std::string(), std::string("ref: refs/heads/none"), std::string(40, 'g'),
                                  std::string(39, 'a'), std::string("ref: ../../etc/passwd")}) {
    write(folder / ".git/HEAD", head);
    BOOST_TEST(found() == "", head);
  }
  BOOST_TEST(commit_of(folder / "there/is/no/such/folder") == "");
}

BOOST_AUTO_TEST_SUITE_END()
