// An alignment whose student layer lies deeper than the teacher's.
// SPDX-License-Identifier: MIT
// expect: SRALoss<Student, Teacher>: the student's layer must not lie deeper than the teacher's
#include <sra/sra.hpp>

using Model = sra::SiT<sra::DiTConfig{
    .height = 32, .width = 32, .channels = 3, .patch = 4, .hidden = 64, .depth = 4, .heads = 4}>;

sra::Trainer<Model, sra::SRALoss<sra::Layer<3>, sra::Layer<2>>> trainer{{.run = "run"}};
