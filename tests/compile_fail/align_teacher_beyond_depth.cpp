// An alignment with a teacher layer that the model lacks.
// SPDX-License-Identifier: MIT
// expect: SRALoss<Student, Teacher>: the teacher's layer must not lie beyond the model's depth
#include <sra/sra.hpp>

using Model = sra::SiT<sra::DiTConfig{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 64, .depth = 4, .heads = 4}>;

sra::Trainer<Model, sra::SRALoss<sra::Layer<2>, sra::Layer<5>>> trainer{{.run = "run"}};
