// Tests the CUDA backend: its memory, its stream, its messages, and its matrix products.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/cuda/kernels.cuh>

#include <boost/test/unit_test.hpp>

#include <cstddef>
#include <fstream>
#include <string>
#include <vector>

using namespace sra;

namespace {

auto says(const std::string& words) {
  return [words](const Error& e) {
    BOOST_TEST_MESSAGE(e.what());
    return std::string(e.what()).find(words) != std::string::npos;
  };
}

arch::ProductKey square(index_t n) {
  const arch::ProductMatrix m{arch::Number::f32, n, n, n};
  return {.a = m, .b = m, .c = m};
}

}  // namespace

BOOST_AUTO_TEST_CASE(memory_goes_there_and_back) {
  Cuda cuda;
  const std::vector<float> there{1, 2, 3};
  std::vector<float> back(3);
  Memory memory(MemorySource::of(cuda), 3 * sizeof(float));
  cuda.upload(memory.data(), there.data(), 3 * sizeof(float));
  cuda.download(back.data(), memory.data(), 3 * sizeof(float));
  BOOST_TEST(back == there);
  cuda.zero(memory.data(), 2 * sizeof(float));
  cuda.download(back.data(), memory.data(), 3 * sizeof(float));
  BOOST_TEST(back == (std::vector<float>{0, 0, 3}));
}

BOOST_AUTO_TEST_CASE(a_device_that_is_not_there_is_named) {
  BOOST_CHECK_EXCEPTION(Cuda({.device = 3}), Error, says("device: expected one of 1, got number 3"));
}

BOOST_AUTO_TEST_CASE(memory_that_is_not_there_is_named) {
  Cuda cuda;
  arch::emulated::memory_left() = 1000;
  BOOST_CHECK_EXCEPTION(cuda.allocate(5000), Error, says("expected 5000 bytes of memory, got none: 1000 of"));
  BOOST_TEST(cuda.available() == 1000u);
  arch::emulated::memory_left() = std::size_t{4} << 30;
}

/// The workspace is made after the streams.
BOOST_AUTO_TEST_CASE(what_cannot_be_made_leaves_no_stream_behind) {
  const std::size_t before = arch::emulated::queues().size();
  arch::emulated::memory_left() = 1000;
  BOOST_CHECK_EXCEPTION(Cuda(), OutOfMemory, says("expected 33554432 bytes of memory, got none"));
  arch::emulated::memory_left() = std::size_t{4} << 30;
  BOOST_TEST(arch::emulated::queues().size() == before);
}

BOOST_AUTO_TEST_CASE(stream_and_memory_may_be_the_callers) {
  std::size_t out = 0;
  const MemorySource counted{&out,
                             [](void* o, std::size_t n) {
                               *static_cast<std::size_t*>(o) += n;
                               return arch::allocate(n);
                             },
                             [](void* o, void* p, std::size_t n) {
                               *static_cast<std::size_t*>(o) -= n;
                               arch::release(p);
                             }};
  const arch::Stream stream = arch::make_stream();
  {
    Cuda cuda({.stream = stream, .memory = counted, .workspace = 1 << 20});
    BOOST_TEST(cuda.stream() == stream);
    BOOST_TEST(out == (std::size_t{1} << 20) + Cuda::counter_count * sizeof(unsigned));
    BOOST_TEST(cuda.available() > std::size_t{1} << 50, "nobody knows");
    cuda.release(cuda.allocate(100), 100);
  }
  BOOST_TEST(out == 0u);
  arch::release(stream);
}

BOOST_AUTO_TEST_CASE(measured_algorithms_are_kept_in_a_file) {
  const test::TemporaryFolder folder;
  const std::string file = (folder / "algorithms").string();
  const std::vector<float> a(64, 1.0f), b(64, 2.0f);
  std::vector<float> c(64);
  const auto lines = [&] {
    std::ifstream in(file);
    int n = 0;
    for (std::string line; std::getline(in, line);) ++n;
    return n;
  };
  for (int run = 0; run < 2; ++run) {
    Cuda cuda({.algorithms = file});
    cuda.products().run(square(8), {.a = a.data(), .b = b.data(), .c = c.data()});
    BOOST_TEST(c[5] == 16);
    BOOST_TEST(lines() == 1);
  }
  std::ofstream(file, std::ios::app) << "garbage\nemulated,1 half\nanother,2 key 0\n";
  Cuda cuda({.algorithms = file});
  cuda.products().run(square(4), {.a = a.data(), .b = b.data(), .c = c.data()});
  BOOST_TEST(c[5] == 8);
  BOOST_TEST(lines() == 5);
}

BOOST_AUTO_TEST_CASE(a_product_that_nobody_can_do_is_named) {
  arch::emulated::refused() = {arch::Epilogue::none};
  const std::vector<float> a(64, 1.0f);
  std::vector<float> c(64);
  Cuda cuda;
  BOOST_CHECK_EXCEPTION(cuda.products().run(square(8), {.a = a.data(), .b = a.data(), .c = c.data()}), Error,
                        says("expected an algorithm for the product NN=,f32:8:8:8"));
  arch::emulated::refused() = {};
}

BOOST_AUTO_TEST_CASE(adding_takes_the_algorithm_that_was_measured_without) {
  const std::vector<float> a(64, 1.0f);
  std::vector<float> c(64);
  Cuda cuda;
  auto key = square(8);
  cuda.products().run(key, {.a = a.data(), .b = a.data(), .c = c.data()});
  key.accumulate = true;
  cuda.products().run(key, {.a = a.data(), .b = a.data(), .c = c.data()});
  BOOST_TEST(c[0] == 16);
}
