// The kernels of SiT-S/2, alone in a program because it compiles long.
// SPDX-License-Identifier: MIT
#include "kernels.cuh"

int main(int argc, char** argv) { return bench::kernels_main<sra::sit_s_2>("S/2", argc, argv); }
