// What a run's folder says about how the run began: run.json.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/dtype.hpp>
#include <sra/core/error.hpp>
#include <sra/io/file.hpp>
#include <sra/io/git.hpp>
#include <sra/io/json.hpp>
#include <sra/train/memory_plan.hpp>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

namespace sra {

/// Names and values, in the order in which they are shown.
using Facts = std::vector<std::pair<std::string, std::string>>;

/// An argument as a shell reads it.
inline std::string shell_quoted(std::string_view argument) {
  constexpr std::string_view plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_@%+=:,./-";
  if (!argument.empty() && argument.find_first_not_of(plain) == std::string_view::npos) return std::string(argument);
  std::string s = "'";
  for (const char c : argument) s += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return s + "'";
}

/// This process's command line as a shell would read it, of long ones the beginning; "" where the system does not tell.
inline std::string command_line() {
  std::ifstream file("/proc/self/cmdline", std::ios::binary);
  std::string command;
  for (std::string argument; std::getline(file, argument, '\0') && command.size() < std::size_t{1} << 16;)
    command += (command.empty() ? "" : " ") + shell_quoted(argument);
  return command;
}

/// Processor and number of cores.
inline Facts machine_facts() {
  Facts facts;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; facts.empty() && std::getline(file, line);)
    if (const std::size_t colon = line.find(": "); line.starts_with("model name") && colon != std::string::npos)
      facts.emplace_back("processor", line.substr(colon + 2));
  facts.emplace_back("cores", std::to_string(std::thread::hardware_concurrency()));
  return facts;
}

/// Coordinated universal time as "2026-01-31T12:00:00Z".
inline std::string date_text(std::chrono::system_clock::time_point time) {
  using namespace std::chrono;
  const auto day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(floor<seconds>(time - day));
  char s[64];
  std::snprintf(s, sizeof s, "%04d-%02u-%02uT%02d:%02d:%02dZ", static_cast<int>(date.year()),
                static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                static_cast<int>(clock.hours().count()), static_cast<int>(clock.minutes().count()),
                static_cast<int>(clock.seconds().count()));
  return s;
}

/// How a run began.
struct RunRecord {
  std::string command{}, commit{}, version{}, started{};
  std::map<std::string, std::string> settings{};  ///< of the training
  Facts machine{};                                ///< and backend
  MemoryPlan memory{};

  /// As JSON, whole or not at all.
  void write(const std::filesystem::path& path) const {
    const auto object = [](const auto& pairs) {
      std::string s;
      for (const auto& [key, value] : pairs)
        s += (s.empty() ? "{\n    " : ",\n    ") + json_string(key) + ": " + json_string(value);
      return s.empty() ? std::string("{}") : s + "\n  }";
    };
    std::string json = "{\n";
    const std::pair<const char*, const std::string*> lines[] = {
        {"command", &command}, {"commit", &commit}, {"version", &version}, {"started", &started}};
    for (const auto& [key, value] : lines)
      if (!value->empty()) json += text("  ", json_string(key), ": ", json_string(*value), ",\n");
    json += text("  \"settings\": ", object(settings), ",\n  \"machine\": ", object(machine), ",\n");
    json += text("  \"memory\": {\"parameters\": ", memory.parameters, ", \"activations\": ", memory.activations,
                 ", \"gradients\": ", memory.gradients, "}\n}\n");
    atomic_write(path, [&](FileWriter& out) { out.write(json); });
  }
};

/// The commit that is checked out where the program was started, or else where it lies; "" if neither is in a repository.
inline std::string commit_of_program() {
  std::error_code ignored;
  const std::string here = commit_of(std::filesystem::current_path(ignored));
  if (!here.empty()) return here;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", ignored);
  return program.empty() ? "" : commit_of(program.parent_path());
}

/// The record of a run that begins now.  @tparam T type that products read
template <class T, class B>
RunRecord record_of(const B& backend, std::map<std::string, std::string> settings, const MemoryPlan& memory) {
  RunRecord record{.command = command_line(),
                   .commit = commit_of_program(),
                   .version = text(SRA_VERSION_MAJOR, ".", SRA_VERSION_MINOR, ".", SRA_VERSION_PATCH),
                   .started = date_text(std::chrono::system_clock::now()),
                   .settings = std::move(settings),
                   .machine = machine_facts(),
                   .memory = memory};
  record.settings["products in"] = std::is_same_v<T, bf16> ? "bf16" : sizeof(T) == 8 ? "double" : "float";
  if constexpr (requires { backend.facts(); })
    for (auto& fact : backend.facts()) record.machine.push_back(fact);
  return record;
}

}  // namespace sra
