// Work in processes of its own, and what a folder holds: for tests that kill and resume.
// SPDX-License-Identifier: MIT
#pragma once

#include "../temporary_folder.hpp"

#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>

namespace sra::test {

/// Begins f() in a process of its own, to be called while this process has one thread.  The process ends with 0, or
/// with 1 after an exception.
template <class F>
pid_t start(F f) {
  std::fflush(nullptr);
  const pid_t child = ::fork();
  if (child != 0) return child;
  int code = 0;
  try {
    f();
  } catch (const std::exception& e) {
    std::fprintf(stderr, "child: %s\n", e.what());
    code = 1;
  }
  std::fflush(nullptr);
  ::_exit(code);
}

/// The status a process ends with; 128 + the signal if one ended it.
inline int status_of(pid_t child) {
  int status = 0;
  if (::waitpid(child, &status, 0) != child) throw std::runtime_error("waitpid failed");
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

template <class F>
int in_process(F f) {
  return status_of(start(f));
}

/// Everything in a folder: names, contents and times.
inline std::map<std::string, std::pair<std::string, std::filesystem::file_time_type>> contents_of(
    const std::filesystem::path& folder) {
  std::map<std::string, std::pair<std::string, std::filesystem::file_time_type>> all;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder))
    if (entry.is_regular_file()) all[entry.path().string()] = {read_text(entry.path()), entry.last_write_time()};
  return all;
}

}  // namespace sra::test
