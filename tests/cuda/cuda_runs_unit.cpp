// What the tests of the CUDA backend's steps and samplers share is compiled here, once.
// SPDX-License-Identifier: MIT
#include "cuda_runs.hpp"

SRA_INSTANTIATE(sra::test::Carried<sra::bf16>, sra::Cpu, sra::bf16);
SRA_INSTANTIATE(sra::test::Carried<float>, sra::Cuda);
SRA_INSTANTIATE(sra::test::Carried<sra::bf16>, sra::Cuda, sra::bf16);
