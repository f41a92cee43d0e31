// Attention and linear layers alone, forward and backward, over sizes; one line of JSON.
// SPDX-License-Identifier: MIT
//
//   sra_kernels [ROUNDS]   milliseconds of every kernel on all threads, medians over rounds (7) through all sizes, and
//                          how many 2^x a second these threads compute
#include <sra/sra.hpp>

#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <random>
#include <string>
#include <vector>

namespace bench {
namespace {

using sra::index_t, sra::Shape, sra::dynamic;

constexpr index_t rows = 2048;  ///< tokens of all samples together
constexpr int heads = 6;
constexpr index_t widest = 768;                                    ///< hidden width of the largest linear layers
constexpr index_t most = 4 * widest * widest + rows * 4 * widest;  ///< numbers that a size reads: weights and input
static_assert(most >= rows * 3 * heads * 72);

/// What all sizes read, and the gradients that they write.
template <class T>
struct Numbers {
  std::vector<T> values;
  std::vector<float> masters, gradients;
  explicit Numbers(std::size_t n) : gradients(n) {
    std::mt19937 random(1);
    std::normal_distribution<float> normal;
    for (std::size_t i = 0; i < n; ++i) {
      masters.push_back(normal(random));
      values.push_back(sra::number_cast<T>(masters.back()));
    }
  }
};
template <class T>
Numbers<T>& numbers() {
  static Numbers<T> all(most);
  return all;
}

/// One size of one op, with the samples of its kernels.
struct Size {
  std::string group, type, name;
  double exponentials = 0;
  std::function<void(sra::Workspace<sra::Cpu>&)> pass;
  struct Kernel {
    sra::Cost cost;
    std::vector<double> ms;
  };
  std::map<std::string, Kernel> kernels{};
};

template <class T>
std::string type_name() {
  return sizeof(T) == 4 ? "fp32" : "bf16";
}

template <class T, index_t Tokens, int Width>
Size attention() {
  const index_t samples = rows / Tokens;
  return {"attention", type_name<T>(), sra::text(Tokens, " tokens, heads of ", Width),
          double(samples) * heads * Tokens * Tokens, [=](sra::Workspace<sra::Cpu>& workspace) {
            sra::Recording<sra::Cpu, T> context(workspace, {});
            const Shape<dynamic, Tokens, 3 * heads * Width> shape{samples};
            backward(sra::self_attention<heads>(input(context, dense(numbers<T>().values.data(), shape))));
          }};
}

template <class T, index_t In, index_t Out>
Size linear(const char* name) {
  return {
      "linear", type_name<T>(), sra::text(name, ", ", In, " to ", Out), 0, [](sra::Workspace<sra::Cpu>& workspace) {
        sra::Linear<In, Out> layer;
        sra::place(layer);
        unsigned char states[] = {sra::unwritten, sra::unwritten};
        auto& n = numbers<T>();
        sra::Recording<sra::Cpu, T> context(workspace, {n.values.data(), n.masters.data(), n.gradients.data(), states});
        const Shape<dynamic, 256, In> shape{rows / 256};
        backward(layer(input(context, dense(n.values.data() + In * Out, shape))));
      }};
}

template <class T, int Width>
void add_attention(std::vector<Size>& sizes) {
  sizes.insert(sizes.end(), {attention<T, 16, Width>(), attention<T, 64, Width>(), attention<T, 256, Width>(),
                             attention<T, 1024, Width>()});
}
template <class T, index_t Hidden>
void add_linear(std::vector<Size>& sizes, const std::string& model) {
  sizes.insert(sizes.end(), {linear<T, Hidden, 3 * Hidden>((model + " qkv").c_str()),
                             linear<T, Hidden, Hidden>((model + " proj").c_str()),
                             linear<T, Hidden, 4 * Hidden>((model + " fc1").c_str()),
                             linear<T, 4 * Hidden, Hidden>((model + " fc2").c_str())});
}
template <class T>
void add_all(std::vector<Size>& sizes) {
  add_attention<T, 32>(sizes);
  add_attention<T, 64>(sizes);
  add_attention<T, 72>(sizes);
  add_linear<T, 384>(sizes, "S/2");
  add_linear<T, widest>(sizes, "B/2");
}

void run(Size& size, sra::Workspace<sra::Cpu>& workspace, bool counts) {
  sra::KernelTimes launches(workspace.backend);
  workspace.observer = &launches;
  size.pass(workspace);
  workspace.observer = nullptr;
  workspace.roll_back();
  launches.end_pass(counts);
  for (const auto& [key, seconds] : launches.samples()) {
    if (key.flops == 0) continue;
    auto& kernel = size.kernels[key.name];
    kernel.cost = {key.bytes, key.flops};
    for (const double s : seconds) kernel.ms.push_back(1e3 * s);
  }
}

/// 1e9 powers of two a second, as attention makes them, from memory that the first-level cache holds.
double exponentials(sra::Cpu& cpu) {
  using namespace sra::backend;
  constexpr index_t blocks = 1 << 14;
  std::vector<float> x(static_cast<std::size_t>(lanes * 64 * cpu.threads().size()), 1.0f);
  const double start = sra::now_seconds();
  for_rows(cpu, blocks, 64, [p = x.data()](index_t begin, index_t end, int worker) {
    for (index_t r = begin; r < end; ++r) {
      float a[lanes];
      float* const at = p + (worker * 64 + r % 64) * lanes;
      load_block(a, at, lanes);
      for (index_t j = 0; j < lanes; ++j) a[j] = sra::maths::exp2_up_to_127(-a[j]);  // stays finite
      store_block(at, a, lanes);
    }
  });
  return double(blocks * lanes) / (sra::now_seconds() - start) / 1e9;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using namespace bench;
  const int rounds = argc > 1 ? std::max(1, std::stoi(argv[1])) : 7;
  sra::Cpu cpu;
  sra::Workspace<sra::Cpu> workspace(cpu);
  std::vector<Size> sizes;
  add_all<float>(sizes);
  add_all<sra::bf16>(sizes);
  double exps = 0;
  for (int round = 0; round <= rounds; ++round) {  // the first allocates
    for (Size& size : sizes)
      for (int i = 0; i < (round ? 3 : 1); ++i) run(size, workspace, round > 0);
    for (int i = 0; i < 5; ++i) exps = std::max(exps, exponentials(cpu));
  }
  std::cout << "{\"exponentials\":" << exps << ",\"kernels\":[";
  const char* comma = "";
  for (const Size& size : sizes)
    for (const auto& [name, kernel] : size.kernels) {
      std::cout << comma << "{\"group\":\"" << size.group << "\",\"type\":\"" << size.type << "\",\"size\":\""
                << size.name << "\",\"kernel\":\"" << name << "\",\"ms\":" << sra::median(kernel.ms)
                << ",\"flops\":" << kernel.cost.flops << ",\"bytes\":" << kernel.cost.bytes
                << ",\"exponentials\":" << size.exponentials << '}';
      comma = ",";
    }
  std::cout << "]}\n";
}
