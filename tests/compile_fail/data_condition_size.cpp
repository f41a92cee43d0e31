// Training data without the numbers that the model's condition is made of.
// SPDX-License-Identifier: MIT
// expect: Trainer::train: the data's condition must be as wide as the model's
#include <sra/sra.hpp>

using Model = sra::SiT<sra::DiTConfig{.height = 16, .width = 16, .channels = 3, .hidden = 64, .depth = 2, .heads = 2},
                       sra::Vector<7>>;

void program(sra::Trainer<Model>& trainer, const sra::Shapes<16>& data) { trainer.train(data, 10); }
