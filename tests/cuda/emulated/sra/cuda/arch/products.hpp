// What products of a warpgroup see of shared memory on the host, and the registers that belong to them until they end.
// SPDX-License-Identifier: MIT
#pragma once

#include <sra/core/dtype.hpp>
#include <sra/core/error.hpp>
#include <sra/cuda/arch/block.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <vector>

namespace sra::arch::emulated {

/// An operand in shared memory by its descriptor: element i of K and j of N (or M).  PTX ISA, wgmma, "Matrix descriptor"
/// and "Canonical Layouts" without swizzle.
struct SharedOperand {
  std::uint64_t descriptor;
  bool transposed;  ///< 16 bytes run along N and not along K

  std::uint32_t field(int first) const { return static_cast<std::uint32_t>(descriptor >> first & 0x3fff) << 4; }
  std::uint32_t leading() const { return field(16); }
  std::uint32_t stride() const { return field(32); }
  /// Where the core matrix of k and n begins.
  std::uint32_t core_matrix(int k, int n) const {
    return field(0) + static_cast<std::uint32_t>(k / 8) * leading() + static_cast<std::uint32_t>(n / 8) * stride();
  }
  std::uint32_t address(int k, int n) const {
    const int along = transposed ? n % 8 : k % 8, across = transposed ? k % 8 : n % 8;
    return core_matrix(k, n) + static_cast<std::uint32_t>(across * 16 + along * 2);
  }
  /// Elements (0, n) to (15, n), read by `look_at`, which gets the address of 16 bytes.
  void read(float (&to)[16], int n, const auto& look_at) const {
    const std::byte* piece = nullptr;
    std::uint32_t begin = 0;
    for (int k = 0; k < 16; ++k) {
      const std::uint32_t at = address(k, n);
      if (!piece || at / 16 * 16 != begin) begin = at / 16 * 16, piece = look_at(begin);
      const Unwatched unwatched;
      bf16 x;
      std::memcpy(&x, piece + at % 16, sizeof x);
      to[k] = static_cast<float>(x);
    }
  }
  void check() const {
    constexpr std::uint64_t fields = 0x3fffull | 0x3fffull << 16 | 0x3fffull << 32;
    if ((descriptor & ~fields) != 0)
      throw Error("a product of a warpgroup: expected a descriptor without swizzle and base offset");
  }
};

/// Shared memory of a block as products see it: a thread's writes when it has published them.  Who wrote what is known of
/// copies; other writes count as published as soon as any thread publishes, but for the thread sanitizer, to which nothing
/// orders a write before a product but the writer's own publish().
class ProductView {
 public:
  static constexpr std::uint32_t first_address = 1024;  ///< of a block's memory in the window of shared memory

  ProductView()
      : memory_(Block::current()->shared()),
        seen_(Block::current()->shared_bytes(), std::byte{0xff}),  // as shared memory begins
        copied_by_(seen_.size() / piece, nobody) {}

  /// The current thread's copy of 16 bytes to `to` has happened.
  void copied(const void* to) {
    const Unwatched unwatched;
    const auto at = static_cast<const std::byte*>(to) - memory_;
    copied_by_[static_cast<std::size_t>(at) / piece] = Block::current()->thread();
  }
  void publish() {
    const Unwatched unwatched;
    for (std::size_t i = 0; i < copied_by_.size(); ++i) {
      if (copied_by_[i] == Block::current()->thread()) copied_by_[i] = nobody;
      if (copied_by_[i] == nobody) std::memcpy(&seen_[i * piece], memory_ + i * piece, piece);
    }
    Block::current()->publish();
  }
  /// 16 bytes of an operand.  @throws Error if they are not of the block, or have not been published
  /// @param first whether no other thread of the warpgroup reads them for the same product earlier: one is watched
  const std::byte* look_at(std::uint32_t address, bool first) {
    const std::size_t at = address - first_address;
    if (address < first_address || at + piece > seen_.size())
      throw Error("a product of a warpgroup: a descriptor leads out of the block's shared memory");
    if (first) Block::current()->watch_product(memory_ + at, 1);
    const Unwatched unwatched;
    if (std::memcmp(&seen_[at], memory_ + at, piece) != 0)
      throw Error("a product of a warpgroup: shared memory was written and not published to products");
    return memory_ + at;
  }

 private:
  static constexpr std::size_t piece = 16;
  static constexpr int nobody = -1;
  const std::byte* memory_;
  std::vector<std::byte> seen_;
  std::vector<int> copied_by_;
};

/// The products of a thread that have been begun and not been waited for; they happen as late as they may.
class Products {
 public:
  struct Product {
    float* d;  ///< of this thread: [columns / 8][4]
    int columns;
    bool accumulate;
    const std::uint32_t* a;  ///< of this thread; null if the left operand is in shared memory, too
    std::uint32_t was[4];    ///< what they held
    float left[2][16];       ///< of its two rows
    SharedOperand shared_left, right;
    int group;
  };

  /// Registers that products may use as long as they hold this.
  void lend(const void* at, std::size_t bytes) {
    const auto* first = static_cast<const std::byte*>(at);
    for (const auto& [d, sums] : under_way_)
      if (reinterpret_cast<const std::byte*>(d) < first + bytes &&
          first < reinterpret_cast<const std::byte*>(d + sums.value.size()))
        throw Error("lend_to_products: a register that belongs to a product under way");
    for (std::size_t i = 0; i < bytes; i += 4) std::memcpy(&lent_[first + i], first + i, 4);
  }
  void begin(Product p) {
    p.group = group_;
    if (p.a) expect_lent(p.a, 4);
    const auto size = static_cast<std::size_t>(p.columns / 2);
    auto& sums = under_way_[p.d];
    if (sums.products == 0) {
      expect_lent(p.d, size);
      sums.value.assign(p.d, p.d + size);
      std::fill(p.d, p.d + size, poison());
    } else if (sums.value.size() != size) {
      throw Error("a product of a warpgroup: expected the form of the product before it on these registers");
    }
    ++sums.products;
    queue_.push_back(p);
  }
  void commit() { ++group_; }
  void wait(int left) {
    for (; !queue_.empty() && queue_.front().group < group_ - left; queue_.pop_front()) finish(queue_.front());
    Block::current()->know_products();
  }
  /// @throws Error if some of these registers belong to a product under way
  void take_back(const void* at, std::size_t bytes) const {
    const auto* first = static_cast<const std::byte*>(at);
    const auto overlaps = [&](const void* other, std::size_t size) {
      const auto* p = static_cast<const std::byte*>(other);
      return p < first + bytes && first < p + size;
    };
    for (const Product& p : queue_)
      if ((p.a && overlaps(p.a, 16)) || overlaps(p.d, static_cast<std::size_t>(p.columns) * 2))
        throw Error("wait_for_products: a register that belongs to a product under way");
  }

 private:
  struct Sums {
    std::vector<float> value;
    int products = 0;
  };
  static float poison() {
    const std::uint32_t bits = 0x7fc0dead;
    float x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
  }
  void expect_lent(const void* at, std::size_t count) const {
    for (std::size_t i = 0; i < count; ++i) {
      const std::byte* const p = static_cast<const std::byte*>(at) + 4 * i;
      const auto lent = lent_.find(p);
      if (lent == lent_.end() || std::memcmp(&lent->second, p, 4) != 0)
        throw Error("a product of a warpgroup: a register that was written and not lent to products");
    }
  }

  void finish(Product& p) {
    if (!p.a) load_left(p);
    if (p.a && std::memcmp(p.a, p.was, sizeof p.was) != 0)
      throw Error("a product of a warpgroup: a register of the left operand was written before the product ended");
    Sums& sums = under_way_[p.d];
    multiply(p, sums.value);
    if (--sums.products > 0) return;
    for (std::size_t i = 0; i < sums.value.size(); ++i) {
      const float expected = poison();
      if (std::memcmp(&p.d[i], &expected, 4) != 0)
        throw Error("a product of a warpgroup: a register of the sum was written before the product ended");
      p.d[i] = sums.value[i];
      std::memcpy(&lent_[reinterpret_cast<const std::byte*>(p.d + i)], p.d + i, 4);
    }
    under_way_.erase(p.d);
  }
  static void load_left(Product& p) {
    auto& view = Block::current()->common_attachment<ProductView>();
    const int thread = Block::current()->thread() % 128, row = thread / 32 * 16 + thread % 32 / 4;
    for (int half = 0; half < 2; ++half)
      p.shared_left.read(p.left[half], row + 8 * half,
                         [&](std::uint32_t at) { return view.look_at(at, thread % 4 == 0); });
  }
  static void multiply(const Product& p, std::vector<float>& d) {
    auto& view = Block::current()->common_attachment<ProductView>();
    const int thread = Block::current()->thread() % 128, first = thread % 4 * 2;
    for (int n = 0; n < p.columns; n += 8)
      for (int i = 0; i < 2; ++i) {
        float right[16];
        p.right.read(right, n + first + i, [&](std::uint32_t at) { return view.look_at(at, thread < 4); });
        for (int half = 0; half < 2; ++half) {
          float& sum = d[static_cast<std::size_t>(n / 2 + 2 * half + i)];
          if (!p.accumulate) sum = 0;
          for (int k = 0; k < 16; ++k) sum += p.left[half][k] * right[k];
        }
      }
  }

  std::map<const std::byte*, std::uint32_t> lent_;
  std::map<float*, Sums> under_way_;
  std::deque<Product> queue_;
  int group_ = 0;
};

}  // namespace sra::arch::emulated
