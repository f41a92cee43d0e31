// Every kernel of a block, of the alignment's end and of the update by itself, forward and backward.
// SPDX-License-Identifier: MIT
#pragma once

#include "event_times.cuh"

namespace bench {

/// One block, the alignment's head and the cosine distance of a model's width, as the trainer runs them in bf16.
template <sra::DiTConfig config>
class BlockAlone {
 public:
  BlockAlone(sra::Cuda& cuda, sra::index_t batch)
      : cuda_(cuda),
        workspace_(cuda),
        batch_(batch),
        size_(sra::place(parts_)),
        masters_(cuda, 5 * size_),
        values_(cuda, 2 * size_),
        states_(sra::parameters_of(parts_).size()),
        x_(cuda, tokens().size()),
        target_(cuda, tokens().size()),
        modulation_(cuda, batch * 6 * config.hidden),
        delay_(cuda, Delay::threads) {
    cuda.zero(delay_.data(), Delay::threads * sizeof(float));
    Numbers numbers;
    for (int i = 0; i < 5; ++i)
      numbers.fill(cuda, buffer(i), size_, i == second_moment ? 0.0f : 0.02f, i == second_moment);
    numbers.fill(cuda, values_.data(), 2 * size_, 0.02f);
    numbers.fill(cuda, x_.data(), tokens().size());
    numbers.fill(cuda, target_.data(), tokens().size());
    numbers.fill(cuda, modulation_.data(), batch * 6 * config.hidden, 0.3f);
  }

  /// Everything once.
  void pass(sra::LaunchObserver* observer) {
    sra::arch::launch_kernel(cuda_.stream(), 1, 0, Delay{delay_.data()});
    workspace_.observer = observer;
    std::fill(states_.begin(), states_.end(), static_cast<unsigned char>(sra::unwritten));
    {
      Context context(workspace_, {values_.data(), buffer(master), buffer(gradient), states_.data(), size_});
      const auto x = input(context, dense(x_.data(), tokens())),
                 target = input(context, dense(target_.data(), tokens()));
      const auto m = input(context, dense(modulation_.data(), sra::Shape<sra::dynamic, 6 * config.hidden>{batch_}));
      const auto h = parts_.head(parts_.block(x, m));  // [B, T, D]
      backward(sra::mean(sra::cosine_features(h, target.stop_gradient())));
    }
    update();
    workspace_.observer = nullptr;
    workspace_.roll_back();
  }

 private:
  using Context = sra::Recording<sra::Cuda, sra::bf16>;
  enum { master, first_moment, second_moment, gradient, average };

  struct Parts {
    sra::DiTBlock<config.hidden, config.heads, config.mlp_ratio> block;
    sra::AlignHead<config.hidden> head;
    static constexpr void visit(auto& self, auto&& f) {
      f("block", self.block);
      f("head", self.head);
    }
  };
  auto tokens() const { return sra::Shape<sra::dynamic, config.tokens(), config.hidden>{batch_}; }
  float* buffer(int i) const { return masters_.data() + i * size_; }

  void update() {
    sra::Detached<sra::Cuda, sra::bf16> context(workspace_, {});
    sra::UpdateArgs<float, sra::bf16> args;
    args.count = size_;
    args.master = buffer(master), args.m = buffer(first_moment), args.v = buffer(second_moment);
    args.gradient = buffer(gradient);
    args.ema[0] = buffer(average), args.ema_decay[0] = 0.9999f, args.emas = 1;
    args.values = values_.data(), args.teacher = values_.data() + size_;
    args.lr = 1e-6f;
    update_parameters(context, args);
    squared_norm(context, static_cast<const float*>(buffer(gradient)), size_);  // waits, so that it is the last
  }

  sra::Cuda& cuda_;
  sra::Workspace<sra::Cuda> workspace_;
  sra::index_t batch_;
  Parts parts_{};
  sra::index_t size_;
  Buffer<float> masters_;
  Buffer<sra::bf16> values_;
  std::vector<unsigned char> states_;
  Buffer<sra::bf16> x_, target_;
  Buffer<float> modulation_, delay_;
};

/// Program: `NAME [R W]` prints a table for each batch and kernel of attention; every kernel is launched at least 20 times after 3 for warm-up.
template <sra::DiTConfig config>
int kernels_main(const char* model, int argc, char** argv) {
  return run_on_device("gpu_kernels", [&] {
    const sra::Limits limits = limits_of(argc, argv);
    const auto measure = [&](sra::index_t batch, sra::AttentionKernel attention) {
      sra::CudaOptions options;
      options.algorithms = "algorithms.txt";
      options.attention = attention;
      sra::Cuda cuda(options);
      if (cuda.attention() != attention) return;  // a device without it
      BlockAlone<config> block(cuda, batch);
      sra::KernelTimes times(cuda);
      for (int i = 0; i < 23; ++i) {
        block.pass(&times);
        times.end_pass(i >= 3);
      }
      std::printf("### %s, batch %d, attention by %s: one block, head, distance and update of both\n\n", model,
                  static_cast<int>(batch), attention == sra::AttentionKernel::mma ? "mma.sync" : "wgmma");
      print(times, limits);
    };
    for (const sra::index_t batch : {256, 64})
      for (const auto attention : {sra::AttentionKernel::mma, sra::AttentionKernel::wgmma}) measure(batch, attention);
  });
}

}  // namespace bench
