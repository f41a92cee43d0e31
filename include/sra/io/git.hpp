// Which commit a folder's files are of, read from git's own files without git.
// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <system_error>

namespace sra {

namespace detail {

/// The first line of a small file without its end; "" if there is none.
inline std::string first_line(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string line;
  std::getline(file, line);
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

inline bool is_commit(std::string_view s) {
  return (s.size() == 40 || s.size() == 64) && s.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

/// What a name like refs/heads/main stands for in git's folder, loose or packed; "" if nothing.
inline std::string resolve_ref(const std::filesystem::path& git, const std::string& ref) {
  if (const std::string loose = first_line(git / ref); is_commit(loose)) return loose;
  std::ifstream packed(git / "packed-refs", std::ios::binary);
  for (std::string line; std::getline(packed, line);) {
    const std::size_t space = line.find(' ');
    if (space != std::string::npos && line.substr(space + 1) == ref && is_commit(line.substr(0, space)))
      return line.substr(0, space);
  }
  return "";
}

}  // namespace detail

/// The commit that is checked out where `folder` is: 40 or 64 hexadecimal digits, or "" if it lies in no repository or git's
/// files are not as expected.  Changes that are not committed are not seen.
inline std::string commit_of(const std::filesystem::path& folder) {
  namespace fs = std::filesystem;
  std::error_code code;
  fs::path at = fs::absolute(folder, code);
  while (!code && !fs::exists(at / ".git", code) && at != at.root_path()) at = at.parent_path();
  fs::path git = at / ".git";
  if (fs::is_regular_file(git, code)) {  // a work tree of another repository: "gitdir: FOLDER"
    constexpr std::string_view key = "gitdir: ";
    const std::string line = detail::first_line(git);
    git = line.starts_with(key) ? at / line.substr(key.size()) : fs::path();
  }
  const std::string head = detail::first_line(git / "HEAD");
  if (detail::is_commit(head)) return head;
  if (!head.starts_with("ref: ")) return "";
  const std::string own = detail::resolve_ref(git, head.substr(5)), common = detail::first_line(git / "commondir");
  return own.empty() && !common.empty() ? detail::resolve_ref(git / common, head.substr(5)) : own;
}

}  // namespace sra
