// The pictures that the demo leaves.
// SPDX-License-Identifier: MIT
#pragma once

#include "run.hpp"

#include <filesystem>
#include <vector>

namespace demo {

/// Draws what the run has learned: one row a picture; columns: the picture with noise, principal components of the student's
/// features behind the head and of the teacher's in one basis, and samples of its class at three times of training.
/// @param over_time samples with labels 0 … 9 at times of training, the last is the end
void draw_look(const std::filesystem::path& path, Run& run, const std::vector<Pictures>& over_time);

/// One row a class, one column a time of training.
void draw_over_time(const std::filesystem::path& path, const std::vector<Pictures>& over_time);

/// One column a class, six rows.  @param samples labels 0 … 9 in turn
void draw_samples(const std::filesystem::path& path, const Pictures& samples);

}  // namespace demo
