// Feeds arbitrary bytes to the safetensors reader: clang++ -std=c++20 -g -O1 -fsanitize=fuzzer,address,undefined.
// SPDX-License-Identifier: MIT
#include <sra/io/safetensors.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

/// Every input is read or refused by an sra::Error; anything else ends the process.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    const sra::SafeTensors file(std::as_bytes(std::span(data, size)), "input");
    for (const sra::TensorInfo& info : file.tensors()) {
      if (!info.dtype.starts_with("F8")) file.read<double>(info.name);
    }
    sra::diff({{"x", "F32", {1}}}, file);
  } catch (const sra::Error&) {
  }
  return 0;
}
