// Control: a model as it must be, with an input that is not square.
// SPDX-License-Identifier: MIT
// expect-ok
#include <sra/models/dit.hpp>

sra::SiT<sra::DiTConfig{.height = 32, .width = 16, .patch = 4, .hidden = 64, .depth = 2, .heads = 4}> model;
