// A model whose patches do not tile its input.
// SPDX-License-Identifier: MIT
// expect: DiTConfig: height and width must be multiples of patch
#include <sra/models/dit.hpp>

sra::SiT<sra::DiTConfig{.height = 30, .width = 32, .patch = 4, .hidden = 64, .depth = 2, .heads = 4}> model;
