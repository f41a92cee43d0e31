// Tests a block of a user's in a model of the user's, made of the library's modules and the user's ops.
// SPDX-License-Identifier: MIT
#include "../../examples/04_block.hpp"
#include "training.hpp"

BOOST_AUTO_TEST_SUITE(block)

// examples/04_block trains it in float.
BOOST_AUTO_TEST_CASE(trains_three_steps_in_bf16) {
  sra::Trainer<lab::CausalModel<lab::config, sra::Classes<3>>, sra::SRALoss<sra::Layer<1>, sra::Layer<2>>, sra::Cpu,
               sra::bf16>
      trainer{{.batch = 6, .threads = 2, .quiet = true}};
  lab::train_three_steps(trainer, "blocks.0.");
}

BOOST_AUTO_TEST_SUITE_END()
