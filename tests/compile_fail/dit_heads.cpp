// A model whose heads do not divide its width.
// SPDX-License-Identifier: MIT
// expect: DiTConfig: hidden must be a multiple of heads
#include <sra/models/dit.hpp>

sra::SiT<sra::DiTConfig{.hidden = 100, .depth = 2, .heads = 3}> model;
