// Our side of the comparison with PyTorch: answers one line for every line it reads.
// SPDX-License-Identifier: MIT
//
//   sra_step --model s2|b2 --batch N --type fp32|bf16 --mode step|sample --threads N
//            --recompute none|norm|norm_gelu|block (s2 in bf16 only)
//
//   step, sample   milliseconds of one
//   write DIR      writes weights and one batch with its draws; answers ok
//   loss DIR       takes the weights; answers denoising loss, alignment loss and gradient norm of the batch, or what
//                  describes the samples; see Subject::check
//   profile N      time, bytes and FLOPs of each kernel over N steps, JSON
//   flops          of one step
//   reset, peak    forgets the peak of resident memory; the peak since then, bytes
//   quit
//
// Says `ready` when it is; whoever asks warms it up.  `error: …` instead of an answer when something fails.
#include "subject.hpp"

#include <cstdio>
#include <exception>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>

namespace bench {
namespace {

std::map<std::string, std::string> options_of(int argc, char** argv) {
  std::map<std::string, std::string> options{{"--model", "s2"},  {"--batch", "8"},   {"--type", "fp32"},
                                             {"--mode", "step"}, {"--threads", "0"}, {"--recompute", "none"}};
  for (int i = 1; i < argc; i += 2) {
    const auto at = options.find(argv[i]);
    if (at == options.end() || i + 1 == argc)
      throw std::invalid_argument(std::string("sra_step: expected an option and its value, got ") + argv[i]);
    at->second = argv[i + 1];
  }
  return options;
}

/// The largest resident memory since the start or the last reset, in bytes; 0 where the system does not say.
double peak_bytes() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with("VmHWM:")) return std::stod(line.substr(6)) * 1024;
  return 0;
}
void reset_peak() { std::ofstream("/proc/self/clear_refs") << "5\n"; }

std::string number(double x) {
  char digits[40];
  std::snprintf(digits, sizeof digits, "%.10g", x);
  return digits;
}

std::unique_ptr<Subject> make(const std::string& model, const std::string& recompute, const SubjectOptions& options) {
  if (recompute != "none" && model == "s2") return make_sit_s2_recompute(options, recompute);
  if (recompute != "none")
    throw std::invalid_argument("sra_step: --recompute: expected none or model s2, got " + model);
  if (model == "s2") return make_sit_s2(options);
  if (model == "b2") return make_sit_b2(options);
  throw std::invalid_argument("sra_step: --model: expected s2 or b2, got " + model);
}

std::string answer(Subject& subject, const std::string& line) {
  std::istringstream words(line);
  std::string command, argument;
  words >> command;
  std::getline(words >> std::ws, argument);
  if (command == "step") return number(subject.step());
  if (command == "sample") return number(subject.sample());
  if (command == "profile") return subject.profile(std::stoi(argument));
  if (command == "flops") return number(subject.step_flops());
  if (command == "peak") return number(peak_bytes());
  if (command == "loss") {
    std::string numbers;
    for (const double x : subject.check(argument)) numbers += number(x) + " ";
    return numbers;
  }
  if (command == "write")
    subject.write(argument);
  else if (command == "reset")
    reset_peak();
  else
    return "error: expected a command, got " + line;
  return "ok";
}

void serve(Subject& subject) {
  std::cout << "ready" << std::endl;
  for (std::string line; std::getline(std::cin, line) && line != "quit";) {
    try {
      std::cout << answer(subject, line) << std::endl;
    } catch (const std::exception& e) {
      std::cout << "error: " << e.what() << std::endl;
    }
  }
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    auto options = bench::options_of(argc, argv);
    const std::string model = options["--model"], mode = options["--mode"];
    if (mode != "step" && mode != "sample")
      throw std::invalid_argument("sra_step: --mode: expected step or sample, got " + mode);
    const bench::SubjectOptions o{options["--type"], std::stoi(options["--batch"]), std::stoi(options["--threads"]),
                                  mode == "sample"};
    bench::serve(*bench::make(model, options["--recompute"], o));
  } catch (const std::exception& e) {
    std::cout << "error: " << e.what() << std::endl;
    return 1;
  }
}
