// The model that is trained, and the data's size; what does not depend on the alignment is compiled in model.cpp.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

inline constexpr sra::DiTConfig config{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 192, .depth = 12, .heads = 3};
using Model = sra::SiT<config, sra::Classes<10>>;
extern SRA_INSTANTIATE(Model);
