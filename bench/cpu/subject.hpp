// What the driver may ask of our side of the comparison, whatever the model and the type of its numbers.
// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace bench {

struct SubjectOptions {
  std::string type = "fp32";  ///< fp32 or bf16
  int batch = 8;              ///< samples of a step; images of a sampling run
  int threads = 0;            ///< 0: the cores of this process
  bool samples = false;       ///< what check() is about: samples, or losses and gradients
};

/// One model with its trainer and one fixed batch.  Times are milliseconds.
class Subject {
 public:
  virtual ~Subject() = default;
  /// One whole update, draws of noise and times included.
  virtual double step() = 0;
  /// 50 Euler steps of the ODE with guidance 1.5.
  virtual double sample() = 0;
  /// Writes weights and one batch with its draws into a folder.
  virtual void write(const std::filesystem::path& folder) = 0;
  /// Takes the weights from a folder that write() filled and computes what both sides must agree on: denoising loss,
  /// alignment loss and gradient norm of its batch; or root mean square, mean magnitude and root mean square of the
  /// first image of samples from its noise.
  virtual std::vector<double> check(const std::filesystem::path& folder) = 0;
  /// Time, bytes and FLOPs of each kernel over some steps, as one line of JSON.
  virtual std::string profile(int steps) = 0;
  /// FLOPs of a step, the teacher up to its block.
  virtual double step_flops() const = 0;
};

std::unique_ptr<Subject> make_sit_s2(const SubjectOptions& options);
std::unique_ptr<Subject> make_sit_b2(const SubjectOptions& options);
/// @param level norm, norm_gelu or block
std::unique_ptr<Subject> make_sit_s2_recompute(const SubjectOptions& options, const std::string& level);

}  // namespace bench
