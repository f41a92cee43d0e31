// What the demo says and records of the two runs.
// SPDX-License-Identifier: MIT
#pragma once

#include "record.hpp"
#include "run.hpp"

#include <string>
#include <vector>

namespace demo {

/// Both runs, and everything measured so far.
struct Runs {
  Settings settings;
  std::unique_ptr<Run> with, without;
  Record record{};
};

/// A line of "label   text", the text in a column of its own.
void say(const std::string& label, const std::string& line);
/// x with some digits after the point; "93.4 %".
std::string fixed(double x, int digits);
std::string percent(const sra::Estimate& e);

/// What is aligned with what, machine, data, model, memory.
void introduce(Runs& runs);
/// Trains both at the same time, on half of the cores each.  @return false if a signal came
bool train_both(Run& a, Run& b, index_t until);
/// As many steps of both as take a time here, a multiple of 400: measured on two runs that are thrown away.
/// @return 0 if a signal came
index_t steps_in(const Settings& settings);
/// Trains both, a line of progress for each eighth, samples of fixed noise at every such time.
/// @return samples of the run with alignment, labels 0 … 9, at the beginning and after each eighth; fewer if a signal came
std::vector<Pictures> train(Runs& runs);
/// The denoising loss on held-out pictures and draws that both runs share.
void validate(Runs& runs);
/// How well classes can be read off every block.
void probe(Runs& runs);
/// What an independent judge makes of samples, and how varied they are.  @return samples of the run with alignment, or none
/// if a signal came
Pictures judge(Runs& runs, const Pictures& untrained, const sra::SignalGuard& signals);

}  // namespace demo
