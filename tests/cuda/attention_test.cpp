// Tests attention of the CUDA backend against its definition in double: tensor cores and the plain kernels.
// SPDX-License-Identifier: MIT
#include "attention_case.hpp"

#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

using namespace sra;
using namespace sra::attention_check;

namespace {

/// What only bf16 on tensor cores may choose between.
constexpr AttentionKernel kernels[] = {AttentionKernel::mma, AttentionKernel::wgmma};
constexpr Modes overwriting{}, adding{GradMode::accumulate, GradMode::accumulate, GradMode::accumulate};

/// Groups of tokens: in turns, or one half after the other, so that whole tiles of keys are of another group.
template <index_t Tokens>
std::vector<std::int32_t> groups(index_t samples, bool halves) {
  std::vector<std::int32_t> g;
  for (index_t s = 0; s < samples; ++s)
    for (index_t t = 0; t < Tokens; ++t)
      g.push_back(static_cast<std::int32_t>(halves ? (2 * t + s) / Tokens : (t * t + s) % 3));
  return g;
}

/// Numbers in device memory.
class OnDevice {
 public:
  OnDevice(Cuda& cuda, const std::vector<std::int32_t>& x)
      : memory_(MemorySource::of(cuda), x.size() * sizeof(std::int32_t)) {
    cuda.upload(memory_.data(), x.data(), x.size() * sizeof(std::int32_t));
  }
  const std::int32_t* data() const { return reinterpret_cast<const std::int32_t*>(memory_.data()); }

 private:
  Memory memory_;
};

template <class T, int Heads, index_t Tokens, index_t Width>
void check_groups(bool halves, AttentionKernel kernel = AttentionKernel::mma) {
  Case<T, Heads, Tokens, Tokens, Width> test(2, {}, kernel);
  const auto group = groups<Tokens>(2, halves);
  test.problem().query_group = test.problem().key_group = group;
  const OnDevice there(test.cuda(), group);
  using Groups = Shape<dynamic, Tokens>;
  test.run(overwriting, std::is_same_v<T, bf16>, SameGroup<Groups>{dense(there.data(), Groups{2})});
}

/// Keys have groups of their own, and some queries see none of them.  No op asks for that yet, the kernels can do it.
template <class T, int Heads, index_t Tokens, index_t Width>
void check_blind_queries(AttentionKernel which = AttentionKernel::mma) {
  using Test = Case<T, Heads, Tokens, Tokens, Width>;
  using Groups = SameGroup<Shape<dynamic, Tokens>>;
  using Pull = gpu::detail::AttentionPull<Heads, T, typename Test::Q, typename Test::K, Groups>;
  using Sizes = typename Pull::Sizes;
  Test test(2, {}, which);
  const auto group = groups<Tokens>(2, false);
  auto of_keys = group;
  for (auto& g : of_keys) g = g == 1 ? 2 : g;
  test.problem().query_group = group, test.problem().key_group = of_keys;
  const OnDevice there(test.cuda(), group), keys_there(test.cuda(), of_keys);
  const Groups mask{dense(there.data(), Shape<dynamic, Tokens>{2})};
  const auto stream = test.cuda().stream();
  test.forward([&](auto&, const auto& at) {
    const typename Pull::Base operands{at.o, at.q, at.k, at.v, mask};
    if constexpr (std::is_same_v<T, bf16>) {
      const auto run = [&]<class Kernel>(Kernel kernel) {
        kernel.key_group = keys_there.data();
        arch::launch_kernel(stream, Kernel::blocks(2, Heads, Tokens), Kernel::shared_bytes, kernel);
      };
      if (test.cuda().attention() == AttentionKernel::wgmma)
        run(operands.template forward_kernel<typename Sizes::WarpgroupForward>(at.lse.data));
      else
        run(operands.template forward_kernel<typename Sizes::Forward>(at.lse.data));
    } else {
      auto plain = operands.plain();
      plain.key_group = keys_there.data();
      const gpu::detail::PlainAttentionForward<T, Width, true> kernel{plain, gpu::detail::head_rows<T>(at.o),
                                                                      at.lse.data};
      arch::launch_kernel(stream, kernel.blocks(2 * Heads * Tokens), 0, kernel);
    }
  });
  if constexpr (std::is_same_v<T, bf16>)
    test.backward(
        [&](auto&, const auto& at, auto dq, auto dk, auto dv) {
          const Pull pull{{at.o, at.q, at.k, at.v, mask}, at.dy, at.lse.data, dq, dk, dv};
          pull.with_kernel(test.cuda().attention(), [&]<class Kernel>(std::type_identity<Kernel>) {
            auto kernel = pull.template kernel<Kernel>(nullptr, 1);
            kernel.key_group = keys_there.data();
            arch::launch_kernel(stream, 2 * Heads, Kernel::shared_bytes(1), kernel);
          });
        },
        overwriting);
}

/// The 8 rows of 16 bytes that one phase of load_matrices reads lie in 8 different groups of banks, for every part.
template <int Width>
constexpr bool reads_without_conflicts(auto place) {
  for (int part = 0; part < 4; ++part)
    for (int i = 0, seen = 0; i < 8; ++i) {
      const auto p = place(8 * part + i);
      const int banks = 1 << (p.row * gpu::detail::tile_pitch(Width) + p.column) / 8 % 8;
      if (seen & banks) return false;
      seen |= banks;
    }
  return true;
}
/// A warp stores pairs of a sum, each lane to a bank of its own.
constexpr bool stores_without_conflicts(int pitch) {
  unsigned seen = 0;
  for (int lane = 0; lane < 32; ++lane) {
    const auto p = gpu::detail::first_of_sum(lane);
    seen |= 1u << (p.row * pitch + p.column) / 2 % 32;
  }
  return seen == 0xffffffffu;
}
/// Every piece of 8 numbers of a 16 x 16 tile belongs to one lane.
constexpr bool covers_tile(auto place) {
  unsigned seen = 0;
  for (int lane = 0; lane < 32; ++lane) seen |= 1u << (place(lane).row * 2 + place(lane).column / 8);
  return seen == 0xffffffffu;
}
constexpr auto rows_first = [](int lane) { return gpu::detail::rows_first(lane); };
constexpr auto columns_first = [](int lane) { return gpu::detail::columns_first(lane); };
static_assert(covers_tile(rows_first) && covers_tile(columns_first));
template <int... Width>
constexpr bool no_conflicts =
    ((reads_without_conflicts<Width>(rows_first) && reads_without_conflicts<Width>(columns_first)) && ...);
static_assert(no_conflicts<8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88, 96, 104, 112, 120, 128>);
static_assert(gpu::detail::tile_pitch(64) == 72 && gpu::detail::tile_pitch(72) == 72);
static_assert(stores_without_conflicts(gpu::detail::tile_pitch(64)));

}  // namespace

BOOST_AUTO_TEST_SUITE(cuda_attention)

BOOST_AUTO_TEST_CASE(tensor_cores_agree_with_the_definition) {
  for (const AttentionKernel kernel : kernels) {
    Case<bf16, 2, 1, 1, 8>(2, {}, kernel).run();
    Case<bf16, 3, 16, 16, 16>(2, {}, kernel).run();
    Case<bf16, 2, 17, 16, 24>(2, {}, kernel).run();
    Case<bf16, 2, 1, 17, 40>(2, {}, kernel).run();
    Case<bf16, 2, 64, 64, 64>(2, {}, kernel).run();
    Case<bf16, 1, 100, 64, 72>(2, {}, kernel).run();
    Case<bf16, 2, 100, 100, 32>(1, {}, kernel).run();
    Case<bf16, 1, 17, 100, 88>(1, {}, kernel).run();
    Case<bf16, 1, 64, 100, 128>(2, {}, kernel).run();
    Case<bf16, 1, 33, 65, 80>(2, {}, kernel).run();
  }
}

BOOST_AUTO_TEST_CASE(tensor_cores_agree_with_the_definition_for_256_tokens) {
  for (const AttentionKernel kernel : kernels) {
    Case<bf16, 1, 256, 256, 64>(1, {}, kernel).run();
    Case<bf16, 1, 256, 256, 72>(1, {}, kernel).run(adding);
  }
}

BOOST_AUTO_TEST_CASE(warpgroups_take_every_head_size) {
  const auto run = []<int... Eights>(std::integer_sequence<int, Eights...>) {
    (Case<bf16, 1, 70, 90, 8 * (Eights + 2)>(1, {}, AttentionKernel::wgmma).run(), ...);
  };
  run(std::make_integer_sequence<int, 15>{});
}

BOOST_AUTO_TEST_CASE(warpgroups_pass_many_tiles_and_turns) {
  Case<bf16, 1, 130, 999, 72>(1, {}, AttentionKernel::wgmma).run();
}

BOOST_AUTO_TEST_CASE(more_keys_than_a_block_has_room_for) {
  for (const AttentionKernel kernel : kernels) {
    Case<bf16, 2, 100, 300, 16>(2, {}, kernel).run();
    Case<bf16, 1, 100, 256, 128>(1, {}, kernel).run(adding);
  }
}

BOOST_AUTO_TEST_CASE(plain_kernels_agree_with_the_definition) {
  Case<float, 2, 1, 1, 128>(2).run();
  Case<float, 3, 17, 33, 5>(2).run();
  Case<float, 2, 64, 64, 64>(1).run(adding);
  Case<float, 1, 100, 17, 72>(2).run();
  Case<float, 1, 16, 256, 8>(1).run();
  Case<bf16, 3, 17, 33, 5>(2).run(adding, false);
  Case<bf16, 1, 33, 17, 136>(1).run(overwriting, false);
  Case<bf16, 2, 33, 17, 16>(2, {.gap = 3}).run(overwriting, false);
}

BOOST_AUTO_TEST_CASE(rows_lie_apart_or_packed) {
  for (const AttentionKernel kernel : kernels) {
    Case<bf16, 2, 33, 17, 24>(3, {.gap = 8, .after_sample = 16}, kernel).run(adding);
    Case<bf16, 2, 65, 65, 72>(2, {.packed = true}, kernel).run();
  }
  Case<float, 2, 33, 17, 5>(3, {.gap = 3, .after_sample = 5}).run(adding);
  Case<float, 2, 33, 33, 16>(2, {.packed = true}).run();
}

BOOST_AUTO_TEST_CASE(ignored_gradients_are_left_alone) {
  constexpr GradMode none = GradMode::ignore, set = GradMode::overwrite, add = GradMode::accumulate;
  for (const Modes modes :
       {Modes{none, set, add}, Modes{add, none, set}, Modes{set, add, none}, Modes{add, none, none}}) {
    for (const AttentionKernel kernel : kernels) {
      Case<bf16, 1, 17, 33, 24>(2, {}, kernel).run(modes);
      Case<bf16, 1, 17, 300, 16>(1, {}, kernel).run(modes);
    }
    Case<float, 1, 17, 33, 5>(2).run(modes);
  }
}

BOOST_AUTO_TEST_CASE(tokens_of_other_groups_are_not_seen) {
  for (const bool halves : {false, true}) {
    for (const AttentionKernel kernel : kernels) {
      check_groups<bf16, 2, 100, 16>(halves, kernel);
      check_groups<bf16, 1, 300, 72>(halves, kernel);
    }
    check_groups<float, 2, 100, 5>(halves);
  }
}

BOOST_AUTO_TEST_CASE(queries_that_see_no_key_get_zero) {
  for (const AttentionKernel kernel : kernels) {
    check_blind_queries<bf16, 2, 100, 72>(kernel);
    check_blind_queries<bf16, 1, 33, 128>(kernel);
  }
  check_blind_queries<float, 2, 33, 5>();
}

BOOST_AUTO_TEST_CASE(gradients_that_share_memory_are_added_in_order) {
  const auto one_value = [](auto test) {
    test->run_forward();
    test->run_on_one_value();
  };
  one_value(std::make_unique<Case<bf16, 2, 65, 65, 24>>(2));
  one_value(std::make_unique<Case<bf16, 2, 65, 65, 24>>(2, Layout{}, AttentionKernel::wgmma));
  one_value(std::make_unique<Case<bf16, 2, 33, 33, 16>>(2, Layout{.gap = 3}));
  one_value(std::make_unique<Case<float, 2, 33, 33, 5>>(2));
  const auto shifted = [](auto test) {
    test->run_forward();
    test->run_on_rows_shifted_by(1);
  };
  shifted(std::make_unique<Case<bf16, 2, 17, 33, 24>>(1));
  shifted(std::make_unique<Case<float, 2, 17, 33, 5>>(1));
}

BOOST_AUTO_TEST_SUITE_END()
