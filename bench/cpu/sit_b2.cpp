// SiT-B/2, alone in a file because it compiles long.
// SPDX-License-Identifier: MIT
#include "trained_subject.hpp"

namespace bench {

std::unique_ptr<Subject> make_sit_b2(const SubjectOptions& options) { return make_subject<sra::sit_b_2>(options); }

}  // namespace bench
