// SiT-S/2 in bf16 with the recompute levels, alone in a file because it compiles long.
// SPDX-License-Identifier: MIT
#include "trained_subject.hpp"

namespace bench {
namespace {

template <sra::Recompute level>
constexpr sra::DiTConfig sit_s_2_with() {
  sra::DiTConfig config = sra::sit_s_2;
  config.recompute = level;
  return config;
}
template <sra::Recompute level>
std::unique_ptr<Subject> make(const SubjectOptions& options) {
  if (options.type != "bf16") throw sra::Error("sra_step: --type: expected bf16 with --recompute, got " + options.type);
  return std::make_unique<TrainedSubject<sit_s_2_with<level>(), sra::bf16>>(options);
}

}  // namespace

std::unique_ptr<Subject> make_sit_s2_recompute(const SubjectOptions& options, const std::string& level) {
  if (level == "norm") return make<sra::Recompute::norm>(options);
  if (level == "norm_gelu") return make<sra::Recompute::norm_gelu>(options);
  if (level == "block") return make<sra::Recompute::block>(options);
  throw sra::Error("sra_step: --recompute: expected none, norm, norm_gelu or block, got " + level);
}

}  // namespace bench
