// Runs the instructions on tiles of AMX on processors without them: catches the illegal instruction and does its work.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/cpu/cpu.hpp>

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <sys/ucontext.h>
#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace sra::test {

/// The tiles of one thread, as Intel's manual (volume 2) describes palette 1: 8 tiles of at most 16 rows of 64 bytes.
/// What the manual answers with a fault comes back as a complaint; null is success.
class TileFile {
 public:
  using Complaint = const char*;

  Complaint configure(const void* memory) {
    Configuration wanted;
    std::memcpy(&wanted, memory, sizeof(wanted));
    if (wanted.palette == 0) return release();
    if (wanted.palette != 1) return "a palette other than 1";
    if (wanted.start_row != 0) return "a start row, which no interrupted instruction has left here";
    for (const std::uint8_t byte : wanted.reserved)
      if (byte) return "reserved bytes of a configuration";
    for (int t = 0; t < 16; ++t) {
      if (wanted.rows[t] > (t < tiles ? 16 : 0) || wanted.row_bytes[t] > (t < tiles ? 64 : 0))
        return "a tile too large";
      if ((wanted.rows[t] == 0) != (wanted.row_bytes[t] == 0))
        return "a tile with rows but no bytes, or bytes but no rows";
    }
    configuration_ = wanted;
    std::memset(data_, 0, sizeof(data_));
    return nullptr;
  }
  Complaint release() {
    configuration_ = {};
    std::memset(data_, 0, sizeof(data_));
    return nullptr;
  }
  Complaint store_configuration(void* memory) const {
    std::memcpy(memory, &configuration_, sizeof(configuration_));
    return nullptr;
  }
  Complaint zero(int t) {
    if (!valid(t)) return "zeroes a tile that is not configured";
    std::memset(data_[t], 0, sizeof(data_[t]));
    return nullptr;
  }
  Complaint load(int t, const char* from, std::int64_t stride) {
    if (!valid(t)) return "loads a tile that is not configured";
    std::memset(data_[t], 0, sizeof(data_[t]));
    for (int r = 0; r < rows(t); ++r) std::memcpy(data_[t][r], from + r * stride, row_bytes(t));
    return nullptr;
  }
  Complaint store(int t, char* to, std::int64_t stride) const {
    if (!valid(t)) return "stores a tile that is not configured";
    for (int r = 0; r < rows(t); ++r) std::memcpy(to + r * stride, data_[t][r], row_bytes(t));
    return nullptr;
  }

  /// C += A B for pairs of bf16: the sums over the first and over the second numbers of the pairs, each in order, are
  /// added to each other and then to C.  Denormals are zero; products of bf16 are exact, so fusing them changes nothing
  /// above them.
  Complaint multiply(int c, int a, int b) {
    if (!valid(c) || !valid(a) || !valid(b)) return "multiplies a tile that is not configured";
    if (c == a || c == b || a == b) return "multiplies a tile by itself";
    if (row_bytes(c) % 4 || row_bytes(a) % 4 || rows(c) != rows(a) || row_bytes(a) != 4u * unsigned(rows(b)) ||
        row_bytes(c) != row_bytes(b))
      return "multiplies tiles whose sizes do not fit";
    constexpr std::uint32_t no_denormals = 0x9fc0;  // the signal's return restores what was there
    asm volatile("ldmxcsr %0" ::"m"(no_denormals));
    sum(c, a, b);
    return nullptr;
  }

 private:
  static constexpr int tiles = 8;
  struct Configuration {
    std::uint8_t palette, start_row, reserved[14];
    std::uint16_t row_bytes[16];
    std::uint8_t rows[16];
  };

  bool valid(int t) const { return t < tiles && configuration_.rows[t] > 0; }
  int rows(int t) const { return configuration_.rows[t]; }
  std::size_t row_bytes(int t) const { return configuration_.row_bytes[t]; }

  [[gnu::noinline, gnu::target("avx512f,fma")]] void sum(int c, int a, int b) {
    typedef float Floats __attribute__((vector_size(64)));
    typedef std::uint32_t Pairs __attribute__((vector_size(64)));
    for (int r = 0; r < rows(c); ++r) {
      Floats first{}, second{}, to;
      for (int k = 0; k < rows(b); ++k) {
        std::uint32_t left;
        Pairs right;
        std::memcpy(&left, data_[a][r] + 4 * k, sizeof(left));
        std::memcpy(&right, data_[b][k], sizeof(right));
        first += reinterpret_cast<Floats>(Pairs{} + (left << 16)) * reinterpret_cast<Floats>(right << 16);
        second +=
            reinterpret_cast<Floats>(Pairs{} + (left & 0xffff0000u)) * reinterpret_cast<Floats>(right & 0xffff0000u);
      }
      std::memcpy(&to, data_[c][r], sizeof(to));
      to += first + second;
      std::memcpy(data_[c][r], &to, row_bytes(c));
    }
  }

  Configuration configuration_{};
  unsigned char data_[tiles][16][64]{};
};

/// One instruction on tiles in VEX encoding at the place where a thread stopped.
class TileInstruction {
 public:
  explicit TileInstruction(greg_t* registers)
      : registers_(registers), code_(reinterpret_cast<const std::uint8_t*>(registers[REG_RIP])) {}

  /// Executes it and steps behind it.
  TileFile::Complaint execute(TileFile& file) {
    // C4, then inverted extensions of three registers over the map 0F38, then W, inverted third operand, L, prefix.
    if (code_[0] != 0xc4 || (code_[1] & 0x1f) != 2 || (code_[2] & 0x84) != 0) return "unknown instruction";
    const int opcode = code_[3], prefix = code_[2] & 3, third = ~code_[2] >> 3 & 15;
    const int tile = field(3, 1 << 7), second = field(0, 1 << 5);
    const bool in_register = code_[4] >> 6 == 3, has_third = opcode == 0x5c;
    const char* const memory = in_register ? nullptr : address();
    TileFile::Complaint complaint = "unknown instruction";
    if (!has_third && third != 0) return complaint;
    if (opcode == 0x49 && !in_register && tile == 0) {
      if (prefix == 0) complaint = file.configure(memory);
      if (prefix == 1) complaint = file.store_configuration(const_cast<char*>(memory));
    } else if (opcode == 0x49 && second == 0) {
      if (prefix == 0 && tile == 0) complaint = file.release();
      if (prefix == 3) complaint = file.zero(tile);
    } else if (opcode == 0x4b && !in_register && strided_) {
      if (prefix == 1 || prefix == 3) complaint = file.load(tile, memory - stride_, stride_);
      if (prefix == 2) complaint = file.store(tile, const_cast<char*>(memory) - stride_, stride_);
    } else if (opcode == 0x5c && in_register && prefix == 2) {
      complaint = file.multiply(tile, second, third);
    }
    if (!complaint) registers_[REG_RIP] += length_;
    return complaint;
  }

 private:
  /// Three bits of the operand byte with a fourth from the extensions.
  int field(int shift, int extension) const { return (code_[4] >> shift & 7) | (code_[1] & extension ? 0 : 8); }

  std::int64_t general(int number) const {
    constexpr int order[] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                             REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
    return registers_[order[number]];
  }

  /// The address of the operand in memory, its index counted once; sets the length.
  const char* address() {
    const int mode = code_[4] >> 6, extended = code_[1] & 1 << 5 ? 0 : 8;
    int base = code_[4] & 7;
    const bool scaled = base == 4;
    std::int64_t at = 0;
    if (scaled) {
      const int index = (code_[5] >> 3 & 7) | (code_[1] & 1 << 6 ? 0 : 8);
      strided_ = true, length_ = 6, base = code_[5] & 7;
      if (index != 4) at = stride_ = general(index) << (code_[5] >> 6);
    }
    const bool absolute = mode == 0 && base == 5;
    std::int32_t offset = 0;
    if (mode == 1) offset = static_cast<std::int8_t>(code_[length_]);
    if (mode == 2 || absolute) std::memcpy(&offset, code_ + length_, sizeof(offset));
    length_ += mode == 1 ? 1 : mode == 2 || absolute ? 4 : 0;
    at += offset;
    if (!absolute) at += general(base | extended);
    if (absolute && !scaled) at += reinterpret_cast<std::int64_t>(code_) + length_;
    return reinterpret_cast<const char*>(at);
  }

  greg_t* registers_;
  const std::uint8_t* code_;
  int length_ = 5;
  bool strided_ = false;
  std::int64_t stride_ = 0;
};

/// While it lives, Isa::amx is available wherever AVX-512 is.  Every thread has tiles of its own.  Any other illegal
/// instruction, and any misuse of tiles, ends the process by SIGILL as without it.  Where there are tiles, it asks for them
/// and does nothing else: without that, a processor configures its own and traps only what follows.
class EmulatedTiles {
 public:
  EmulatedTiles() {
    if (backend::detail::has_tiles()) return;
    backend::detail::tiles_are_emulated = true;
    struct sigaction action {};
    action.sa_sigaction = caught;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGILL, &action, &before_);
  }
  EmulatedTiles(const EmulatedTiles&) = delete;
  EmulatedTiles& operator=(const EmulatedTiles&) = delete;
  ~EmulatedTiles() {
    if (!backend::detail::tiles_are_emulated) return;
    sigaction(SIGILL, &before_, nullptr);
    backend::detail::tiles_are_emulated = false;
  }

  /// Instructions so far, of all threads; none on a processor that has them.
  static std::int64_t executed() { return count_.load(); }

 private:
  static void caught(int, siginfo_t*, void* context) {
    static constinit thread_local TileFile file;
    TileInstruction instruction(static_cast<ucontext_t*>(context)->uc_mcontext.gregs);
    if (const TileFile::Complaint complaint = instruction.execute(file)) {
      for (const char* part : {"emulated tiles: ", complaint, "\n"})
        (void)!write(STDERR_FILENO, part, std::strlen(part));
      signal(SIGILL, SIG_DFL);  // the instruction runs again
      return;
    }
    count_.fetch_add(1, std::memory_order_relaxed);
  }

  static inline std::atomic<std::int64_t> count_ = 0;
  struct sigaction before_ {};
};

}  // namespace sra::test
#else
/// Nothing to emulate here.
namespace sra::test {
struct EmulatedTiles {
  static long executed() { return 0; }
};
}  // namespace sra::test
#endif
