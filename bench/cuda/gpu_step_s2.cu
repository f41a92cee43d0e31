// Training steps of SiT-S/2, alone in a program because it compiles long.
// SPDX-License-Identifier: MIT
#include "step.cuh"

int main(int argc, char** argv) { return bench::step_main<sra::sit_s_2>("S/2", argc, argv); }
