// What this machine can do at most: multiply-adds in every type it has, and memory by size; one line of JSON.
// SPDX-License-Identifier: MIT
//
//   ceilings [SAMPLES]     GFLOP/s and GB/s with 1 and with all threads, the best of interleaved samples (15)
//
// The loops are assembly: no compiler may shorten them, and no flag of the build is needed.  On other processors than
// x86-64 only memory is measured.
#include <sra/cpu/isa/peak.hpp>

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cstdint>
#include <functional>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
using Loop = std::function<void(std::int64_t)>;

/// Something with a limit: thread(i) makes the loop of one thread, whose every turn does `work` (FLOPs or bytes).
struct Ceiling {
  std::string name;
  double work;
  std::function<Loop(int)> thread;
  std::vector<double> one{}, all{};  ///< samples, 1e9 work per second
};

#if defined(__x86_64__)

[[gnu::target("avx512f")]] void triad512(float* a, const float* b, const float* c, std::int64_t n) {
  asm volatile(
      "xor %%rax, %%rax\n vpxorq %%zmm0, %%zmm0, %%zmm0\n"
      "1:\n vmovaps (%1,%%rax,4), %%zmm1\n vmovaps 64(%1,%%rax,4), %%zmm2\n"
      "vfmadd231ps (%2,%%rax,4), %%zmm0, %%zmm1\n vfmadd231ps 64(%2,%%rax,4), %%zmm0, %%zmm2\n"
      "vmovaps %%zmm1, (%0,%%rax,4)\n vmovaps %%zmm2, 64(%0,%%rax,4)\n add $32, %%rax\n cmp %3, %%rax\n jl 1b\n "
      "vzeroupper"
      :
      : "r"(a), "r"(b), "r"(c), "r"(n)
      : "rax", "cc", "memory", "xmm0", "xmm1", "xmm2");
}
#endif

void triad(float* a, const float* b, const float* c, std::int64_t n) {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return triad512(a, b, c, n);
#endif
  using Lanes = float __attribute__((vector_size(16), may_alias));
  for (std::int64_t i = 0; i < n; i += 4)
    *reinterpret_cast<Lanes*>(a + i) =
        *reinterpret_cast<const Lanes*>(b + i) + 3.0f * *reinterpret_cast<const Lanes*>(c + i);
}

/// a = b + 3 c over three arrays of `bytes` together, again and again; counted are two reads and a write.
Ceiling memory(const std::string& name, std::int64_t bytes) {
  const std::int64_t n = bytes / 12 / 32 * 32;
  return {name, static_cast<double>(12 * n), [n](int) -> Loop {
            const auto arrays = std::make_shared<std::vector<float>>(static_cast<std::size_t>(3 * n + 64), 1.0f);
            void* start = arrays->data();
            std::size_t room = arrays->size() * sizeof(float);
            auto* a = static_cast<float*>(std::align(64, 4, start, room));
            return [=](std::int64_t turns) {
              (void)arrays;  // kept
              for (std::int64_t i = 0; i < turns; ++i) triad(a, a + n, a + 2 * n, n);
            };
          }};
}

/// Keeps the calling thread on the i-th processor of this process: the kernel may put two threads on one.
void pin(std::size_t i) {
#ifdef __linux__  // <thread> brings the declarations
  cpu_set_t all;
  CPU_ZERO(&all);
  sched_getaffinity(0, sizeof all, &all);
  for (std::size_t cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &all) || i-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
    return;
  }
#endif
}

/// 1e9 work per second of this many threads that start together.
double rate(const Ceiling& ceiling, std::vector<Loop>& loops, std::size_t threads, std::int64_t turns) {
  std::barrier start(static_cast<std::ptrdiff_t>(threads));
  std::vector<double> seconds(threads);
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < threads; ++i)
    running.emplace_back([&, i] {
      pin(i);
      start.arrive_and_wait();
      const auto begin = Clock::now();
      loops[i](turns);
      seconds[i] = std::chrono::duration<double>(Clock::now() - begin).count();
    });
  for (auto& thread : running) thread.join();
  return static_cast<double>(threads) * static_cast<double>(turns) * ceiling.work /
         *std::max_element(seconds.begin(), seconds.end()) / 1e9;
}

/// Samples of about 20 ms.
void sample(std::vector<Ceiling>& ceilings, std::size_t threads, int samples) {
  std::vector<std::vector<Loop>> loops(ceilings.size());
  std::vector<std::int64_t> turns(ceilings.size());
  for (std::size_t k = 0; k < ceilings.size(); ++k) {
    for (std::size_t i = 0; i < threads; ++i) loops[k].push_back(ceilings[k].thread(static_cast<int>(i)));
    std::int64_t n = 1;
    double seconds = 0;
    for (;; n *= 2) {
      const double r = rate(ceilings[k], loops[k], 1, n);
      seconds = static_cast<double>(n) * ceilings[k].work / r / 1e9;
      if (seconds > 2e-3) break;
    }
    turns[k] = std::max<std::int64_t>(1, static_cast<std::int64_t>(static_cast<double>(n) * 20e-3 / seconds));
  }
  for (int s = 0; s < samples; ++s)
    for (std::size_t k = 0; k < ceilings.size(); ++k) {
      ceilings[k].one.push_back(rate(ceilings[k], loops[k], 1, turns[k]));
      ceilings[k].all.push_back(rate(ceilings[k], loops[k], threads, turns[k]));
    }
}

/// Other programs on the machine only lower a ceiling.
double best(const std::vector<double>& x) { return *std::max_element(x.begin(), x.end()); }

std::vector<Ceiling> available() {
  std::vector<Ceiling> all;
#if defined(__x86_64__)
  using namespace sra::backend;
  const auto add = [&](const char* name, PeakLoop loop) {
    all.push_back({name, loop.flops, [loop](int) -> Loop { return loop.run; }});
  };
  const auto isas = available_isas();
  const auto has = [&](Isa isa) { return std::find(isas.begin(), isas.end(), isa) != isas.end(); };
  if (has(Isa::avx512)) add("fp32 FMA, 512-bit", peak_loop<float>(Isa::avx512));
  if (has(Isa::avx2)) add("fp32 FMA, 256-bit", peak_loop<float>(Isa::avx2));
  if (has(Isa::avx512bf16)) add("bf16 dot, 512-bit", peak_loop<sra::bf16>(Isa::avx512bf16));
  if (has(Isa::amx)) add("bf16 AMX", peak_loop<sra::bf16>(Isa::amx));
#endif
  all.push_back(memory("16 KB", 16 << 10));
  all.push_back(memory("512 KB", 512 << 10));
  all.push_back(memory("8 MB", 8 << 20));
  all.push_back(memory("DRAM", 256 << 20));
  return all;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t threads = std::max(1u, std::thread::hardware_concurrency());
  auto ceilings = available();
  sample(ceilings, threads, argc > 1 ? std::max(1, std::stoi(argv[1])) : 15);
  std::cout << "{\"threads\":" << threads;
  for (const Ceiling& c : ceilings) std::cout << ",\"" << c.name << "\":[" << best(c.one) << ',' << best(c.all) << ']';
  std::cout << "}\n";
}
