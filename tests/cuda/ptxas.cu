// What ptxas.sh compiles: the kernels of a training step of XL/2 and of B/2, whose blocks are all alike, so that one is enough.
// SPDX-License-Identifier: MIT
#include <sra/sra.hpp>

namespace {

constexpr sra::DiTConfig with_one_block(sra::DiTConfig c) {
  c.depth = 1;
  return c;
}
template <sra::DiTConfig config>
using Model = sra::SiT<with_one_block(config), sra::Classes<1000>>;
template <sra::DiTConfig config>
using Run = sra::Trainer<Model<config>, sra::SRALoss<sra::Layer<1>, sra::Layer<1>>, sra::Cuda, sra::bf16>;

}  // namespace

void step(Run<sra::sit_xl_2>& run, const sra::MicroBatch<Model<sra::sit_xl_2>>& batch) { run.step(batch); }
void step(Run<sra::sit_b_2>& run, const sra::MicroBatch<Model<sra::sit_b_2>>& batch) { run.step(batch); }
