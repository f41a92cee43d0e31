// The CPU backend: its threads, its instruction set, its memory.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/config.hpp>
#include <sra/core/error.hpp>
#include <sra/core/parallel.hpp>
#include <sra/cpu/isa/available.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sra::backend {

/// What may be chosen about the CPU backend.
struct CpuOptions {
  int threads = 0;           ///< including the caller; 0 = the cores that this process may run on
  std::optional<Isa> isa{};  ///< absent: what the environment's SRA_ISA names, else the best of this machine
};

/// Threads, instruction set and memory of the host.  Neither results nor errors depend on the number of threads.
/// Throws Error when the instruction set asked for (option, or SRA_ISA = portable, avx2, avx512, avx512bf16 or amx) cannot
/// run here.
class Cpu {
 public:
  static constexpr bool is_host = true;
  static constexpr bool wide_residual = true;
  using sampler_type = double;
  using options_type = CpuOptions;

  explicit Cpu(CpuOptions options = {})
      : threads_(options.threads), isa_(choose(options.isa)), scratch_(static_cast<std::size_t>(threads_.size())) {}
  Cpu(const Cpu&) = delete;
  Cpu& operator=(const Cpu&) = delete;
  ~Cpu() {
    for (auto& s : scratch_) release(s.data, s.bytes);
    release(shared_.data, shared_.bytes);
  }

  Threads& threads() { return threads_; }
  Isa isa() const { return isa_; }
  /// What it is, for people.
  std::vector<std::pair<std::string, std::string>> facts() const {
    return {{"backend", "Cpu"}, {"instruction set", to_string(isa_)}, {"threads", std::to_string(threads_.size())}};
  }
  /// Whether products of bf16 have instructions of their own: then bf16 is the fastest type to train in, else float.
  bool multiplies_bf16() const { return isa_ >= Isa::avx512bf16; }

  /// Memory that starts on a multiple of alignment_bytes, contents undefined.  Throws OutOfMemory naming the size.
  void* allocate(std::size_t bytes) {
    void* p = nullptr;
    if (bytes <= static_cast<std::size_t>(PTRDIFF_MAX))
      p = ::operator new (std::max<std::size_t>(bytes, 1), std::align_val_t{alignment_bytes}, std::nothrow);
    if (!p) throw OutOfMemory(text("Cpu: expected ", bytes, " bytes of memory, got none"));
    return p;
  }
  /// Gives back what allocate(bytes) returned; null is nothing.
  void release(void* p, std::size_t) { ::operator delete (p, std::align_val_t{alignment_bytes}, std::nothrow); }

  /// The host's memory is the backend's, and what is launched is done.
  void upload(void* to, const void* from, std::size_t bytes) { copy_bytes(to, from, bytes); }
  void download(void* to, const void* from, std::size_t bytes) { copy_bytes(to, from, bytes); }
  void zero(void* p, std::size_t bytes) { std::memset(p, 0, bytes); }
  void wait() {}

  /// Workspace of one worker, aligned to alignment_bytes, contents undefined; the next call for the same worker may
  /// hand out the same memory.  Grows geometrically; throws FrozenError when it would have to grow after freeze().
  std::byte* scratch(int worker, std::size_t bytes) {
    return grow(scratch_[static_cast<std::size_t>(worker)], bytes, "scratch");
  }

  /// Workspace that the workers of a loop share, asked for before the loop; otherwise as scratch(worker, bytes).
  std::byte* shared_scratch(std::size_t bytes) { return grow(shared_, bytes, "shared scratch"); }

  /// Every worker gets as much as the one that has most, so that it does not matter which worker took which item so far:
  /// what has run once does not allocate again.
  void level_scratch() {
    std::size_t most = 0;
    for (const auto& s : scratch_) most = std::max(most, s.bytes);
    for (int worker = 0; worker < threads_.size(); ++worker) scratch(worker, most);
  }

  /// From now on the workspace does not grow.
  void freeze() {
    level_scratch();
    frozen_ = true;
  }

 private:
  struct alignas(64) Scratch {
    std::byte* data = nullptr;
    std::size_t bytes = 0;
  };

  static void copy_bytes(void* to, const void* from, std::size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
  }

  std::byte* grow(Scratch& s, std::size_t bytes, const char* which) {
    if (bytes <= s.bytes && s.data) return s.data;
    if (frozen_)
      throw FrozenError(
          text("Cpu: ", which, ": expected at most ", s.bytes, " bytes after freeze, got a request for ", bytes));
    const std::size_t grown = round_up(std::max({bytes, 2 * s.bytes, std::size_t{4096}}), alignment_bytes);
    release(s.data, s.bytes);
    s = {};
    s.data = static_cast<std::byte*>(allocate(grown));
    s.bytes = grown;
    return s.data;
  }

  static Isa choose(std::optional<Isa> wanted) {
    const auto isas = available_isas();
    std::string origin = "Cpu: isa";
    if (const char* name = std::getenv("SRA_ISA"); !wanted && name && *name) {
      origin = "Cpu: environment SRA_ISA";
      for (const Isa isa : {Isa::portable, Isa::avx2, Isa::avx512, Isa::avx512bf16, Isa::amx})
        if (to_string(isa) == name) wanted = isa;
      if (!wanted) throw Error(text(origin, ": expected portable, avx2, avx512, avx512bf16 or amx, got ", name));
    }
    if (!wanted) return isas.back();
    if (std::find(isas.begin(), isas.end(), *wanted) == isas.end())
      throw Error(text(origin, ": expected an instruction set of this machine, at best ", to_string(isas.back()),
                       ", got ", to_string(*wanted)));
    return *wanted;
  }

  Threads threads_;
  Isa isa_;
  bool frozen_ = false;
  std::vector<Scratch> scratch_;
  Scratch shared_;
};

}  // namespace sra::backend

namespace sra {
using backend::Cpu;
}  // namespace sra
