// Values of any shape on the CPU, for programs that are compiled and never run.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/sra.hpp>

using Recording = sra::Recording<sra::backend::Cpu, float>;
using Detached = sra::Detached<sra::backend::Cpu, float>;

/// A batch of samples of the given extents.
template <sra::index_t... E>
using Value = sra::Var<float, sra::Shape<sra::dynamic, E...>, Recording>;
/// The same where nothing is recorded.
template <sra::index_t... E>
using Quiet = sra::Var<float, sra::Shape<sra::dynamic, E...>, Detached>;
