// A view of a parameter whose memory the host cannot read.
// SPDX-License-Identifier: MIT
// expect: Trainer: parameter\(\), ema\(\) and gradient\(\) are views of the host.s memory
#include <sra/sra.hpp>

using Model = sra::SiT<sra::DiTConfig{.height = 16, .width = 16, .channels = 3, .hidden = 64, .depth = 2, .heads = 2},
                       sra::Unconditional>;
struct Device : sra::Cpu {
  static constexpr bool is_host = false;
};

float first(const sra::Trainer<Model, sra::NoAlignment, Device>& trainer) { return trainer.parameter("pos_embed")[0]; }
