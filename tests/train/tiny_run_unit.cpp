// What the tiny model's tests share is compiled here, once.
// SPDX-License-Identifier: MIT
#include "tiny_run.hpp"

SRA_INSTANTIATE(sra::test::Tiny);
SRA_INSTANTIATE(sra::test::Tiny, sra::Cpu, sra::bf16);
