// [STRIDE [NAME]] largest errors of the functions whose names begin so, over every STRIDE-th float (default: all)
// SPDX-License-Identifier: MIT
#include "../../tests/cpu/maths_errors.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace {

std::string cell(const sra::test::Worst& worst, const char* format) {
  char text[80], x[40];
  std::snprintf(text, sizeof text, format, worst.error);
  std::snprintf(x, sizeof x, " at %.9g", static_cast<double>(worst.x));
  return worst.error > 0 ? std::string(text) + x : "0";
}

}  // namespace

int main(int argc, char** argv) {
  using namespace sra::test;
  const std::uint64_t stride = argc > 1 ? std::max(1ull, std::stoull(argv[1])) : 1;
  const std::string begin = argc > 2 ? argv[2] : "";
  sra::Cpu cpu;
  const auto isas = maths_isas();
  std::vector<std::string> rows(isas.size());
  for (const MathsFunction& f : maths_functions()) {
    if (!std::string(f.name).starts_with(begin)) continue;
    std::fprintf(stderr, "%s\n", f.name);
    const auto errors = maths_errors(cpu, f, stride);
    for (std::size_t k = 0; k < isas.size(); ++k)
      rows[k] += std::string("| ") + f.name + " | " + cell(errors[k].ulp, "%.3f") + " | " +
                 cell(errors[k].relative, "%.2e") + " | " + cell(errors[k].absolute, "%.2e") + " |\n";
  }
  for (std::size_t k = 0; k < isas.size(); ++k) {
    std::string title = to_string(isas[k]);
    for (; k + 1 < isas.size() && rows[k + 1] == rows[k]; ++k) title += " and " + to_string(isas[k + 1]);
    std::printf("\n## %s\n\n| function | ulp | relative | relative to max(\\|f\\|, 1) |\n|---|---|---|---|\n%s",
                title.c_str(), rows[k].c_str());
  }
}
