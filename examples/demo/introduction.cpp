// Says what is trained, on what, and what it takes.
// SPDX-License-Identifier: MIT
#include "report.hpp"

#include <cstdio>

namespace demo {

void say(const std::string& label, const std::string& line) {
  std::printf("%-14s%s\n", label.c_str(), line.c_str());
  std::fflush(stdout);
}
std::string fixed(double x, int digits) {
  char buffer[40];
  std::snprintf(buffer, sizeof buffer, "%.*f", digits, x);
  return buffer;
}
std::string percent(const sra::Estimate& e) {
  return fixed(100 * e.mean, 1) + " % ± " + fixed(100 * e.standard_error, 1);
}

void introduce(Runs& r) {
  const Settings& s = r.settings;
  const double parameters = static_cast<double>(sra::parameter_count<Model>());
  const double aligned = sra::step_flops(config, 1, teacher_block, true), plain = sra::step_flops(config, 1, 0, false);
  const sra::MemoryPlan memory = r.with->memory_plan();
  say("sra demo", "self-representation alignment (arXiv:2505.02831) on a small diffusion transformer");
  say("", sra::text("block ", student_block, " of the student, through a small head, learns to say what block ",
                    teacher_block, " of its own moving"));
  say("", "average says of the same picture with less noise: no other network, no labels");
  say("", sra::text("its weight in the loss falls from ", alignment_weight, " to 0 over the run"));
  say("machine", r.with->machine() + " for each run, float");
  say("data",
      sra::text("Shapes: endless pictures of ten shapes that fill them, ", side, " x ", side, " pixels, any colour"));
  say("model", sra::text(config.depth, " blocks of width ", config.hidden, ", ", config.tokens(), " patches, ",
                         fixed(parameters / 1e6, 2), " million parameters"));
  say("", sra::text(fixed(aligned / 1e6, 0), " MFLOP a picture and step with alignment, ", fixed(plain / 1e6, 0),
                    " without"));
  say("", memory.text());
  say("runs", sra::text(s.folder.string(), "/sra and ", s.folder.string(),
                        "/none: the same weights, pictures and noise; ", s.steps, " steps of ", s.batch, " pictures"));
  r.record.add("side", side)
      .add("seed", s.seed)
      .add("steps", s.steps)
      .add("batch", s.batch)
      .add("machine", r.with->machine())
      .add("type", "float")
      .add("model", sra::summary<Model>())
      .add("align", Align{}.describe())
      .add("align_weight_at_first", alignment_weight)
      .add("student_block", student_block)
      .add("teacher_block", teacher_block)
      .add("parameters", sra::parameter_count<Model>())
      .add("flops_per_picture_and_step", Record{}.add("sra", aligned).add("none", plain))
      .add("memory_plan_bytes", Record{}
                                    .add("parameters", memory.parameters)
                                    .add("activations", memory.activations)
                                    .add("gradients", memory.gradients)
                                    .add("total", memory.total()));
}

}  // namespace demo
