// Tests the safetensors reader and writer: what comes back, how it lies in the file, what others make of it.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"
#include "file_size_limit.hpp"
#include "safetensors_file.hpp"

#include <sra/io/safetensors.hpp>

#include <boost/test/unit_test.hpp>
#include <nlohmann/json.hpp>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace sra;
using namespace sra::test;

namespace {

/// Where the golden files are, or nothing.
std::filesystem::path golden_folder() {
  const char* shared = std::getenv("SRA_SHARED");
#ifdef SRA_SHARED_DIR
  if (!shared) shared = SRA_SHARED_DIR;
#endif
  return std::filesystem::path(shared ? shared : "../shared") / "golden";
}

boost::test_tools::assertion_result golden_is_there(boost::unit_test::test_unit_id) {
  return std::filesystem::is_directory(golden_folder());
}

nlohmann::json header_of(const std::string& file) {
  std::uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  return nlohmann::json::parse(file.substr(8, length));
}

/// The reader and nlohmann-json must see the same in a file.
void check_against_json(const std::filesystem::path& path) {
  const SafeTensors file(path);
  nlohmann::json header = header_of(read_text(path));
  const nlohmann::json metadata = header.value("__metadata__", nlohmann::json::object());
  header.erase("__metadata__");
  BOOST_TEST((metadata.get<std::map<std::string, std::string>>() == file.metadata()));
  BOOST_TEST(header.size() == file.tensors().size());
  for (const TensorInfo& info : file.tensors()) {
    BOOST_TEST_REQUIRE(header.contains(info.name));
    const nlohmann::json& entry = header[info.name];
    BOOST_TEST(entry["dtype"].get<std::string>() == info.dtype);
    BOOST_TEST(entry["shape"].get<std::vector<index_t>>() == info.shape);
    BOOST_TEST(entry["data_offsets"][0].get<std::size_t>() == info.begin);
    BOOST_TEST(entry["data_offsets"][1].get<std::size_t>() == info.end);
  }
}

struct Contents {
  std::vector<float> weight = {0, 1, 2, 3, 4, -5.5f};
  std::vector<double> moment = {0.1, -2e300};
  std::vector<std::int64_t> step = {-123456789012345};
  std::vector<std::uint8_t> image = {0, 7, 255};
  std::vector<bf16> half = {bf16(1.5f), bf16(-3.0f)};

  SafeTensorsWriter writer() const {
    SafeTensorsWriter writer;
    writer.add<std::uint8_t>("image", {3}, image);
    writer.add<float>("weight", {2, 3}, weight);
    writer.add<bf16>("half", {1, 2}, half);
    writer.add<double>("moment", {2}, moment);
    writer.add<float>("empty", {0, 4}, {});
    writer.add<std::int64_t>("step", {}, step);
    writer.set_metadata("cfg", R"({"width": 64, "note": "é \" \\"})");
    writer.set_metadata("a\nb", "");
    return writer;
  }
};

}  // namespace

BOOST_AUTO_TEST_SUITE(safetensors)

BOOST_AUTO_TEST_CASE(what_is_written_comes_back) {
  const TemporaryFolder folder;
  const Contents contents;
  contents.writer().write(folder / "a");
  const SafeTensors file(folder / "a");
  BOOST_TEST(file.read<float>("weight") == contents.weight);
  BOOST_TEST(file.read<double>("moment") == contents.moment);
  BOOST_TEST(file.read<std::int64_t>("step") == contents.step);
  BOOST_TEST(file.read<std::uint8_t>("image") == contents.image);
  BOOST_TEST(file.read<float>("half") == (std::vector<float>{1.5f, -3.0f}));
  BOOST_TEST(file.read<float>("empty").empty());
  BOOST_TEST(file.at("step").shape.empty());
  BOOST_TEST(file.at("empty").shape == (std::vector<index_t>{0, 4}));
  BOOST_TEST(file.at("half").dtype == "BF16");
  BOOST_TEST(file.metadata().at("cfg") == R"({"width": 64, "note": "é \" \\"})");
  BOOST_TEST(file.metadata().at("a\nb") == "");
  BOOST_TEST(file.find("none") == nullptr);
  BOOST_TEST(file.bytes(file.at("weight")).size() == 24u);
  BOOST_TEST(std::memcmp(file.bytes(file.at("weight")).data(), contents.weight.data(), 24) == 0);
  check_against_json(folder / "a");
}

BOOST_AUTO_TEST_CASE(the_widest_types_come_first_and_data_begin_at_64) {
  const TemporaryFolder folder;
  const Contents contents;
  for (std::size_t name_length = 1; name_length < 70; ++name_length) {
    SafeTensorsWriter writer = contents.writer();
    writer.add<float>(std::string(name_length, 'x'), {6}, contents.weight);
    writer.write(folder / "a");
    const std::string bytes = read_text(folder / "a");
    std::uint64_t length = 0;
    std::memcpy(&length, bytes.data(), 8);
    BOOST_TEST((8 + length) % 64 == 0u);
    BOOST_TEST(bytes[8] == '{');
    std::string order;
    const SafeTensors file(folder / "a");
    for (const TensorInfo& info : file.tensors()) {
      BOOST_TEST(info.begin % dtype_size(info.dtype) == 0u);
      order += info.name[0];
    }
    BOOST_TEST(order == "mswexhi");
  }
}

BOOST_AUTO_TEST_CASE(equal_calls_write_equal_bytes) {
  const TemporaryFolder folder;
  const Contents contents;
  contents.writer().write(folder / "a");
  contents.writer().write(folder / "b");
  BOOST_TEST(read_text(folder / "a") == read_text(folder / "b"));
}

BOOST_AUTO_TEST_CASE(a_file_without_tensors_is_a_file) {
  const TemporaryFolder folder;
  SafeTensorsWriter().write(folder / "a");
  BOOST_TEST(SafeTensors(folder / "a").tensors().empty());
  check_against_json(folder / "a");
  BOOST_TEST(message_of<Error>([&] { SafeTensors(folder / "a").read<float>("x"); }) ==
             text("SafeTensors: ", (folder / "a").string(), ": no tensor \"x\"; the file has no tensors"));
}

BOOST_AUTO_TEST_CASE(a_reader_can_be_moved_and_outlives_the_name) {
  const TemporaryFolder folder;
  const Contents contents;
  contents.writer().write(folder / "a");
  SafeTensors first(folder / "a");
  const SafeTensors second(std::move(first));
  std::filesystem::remove(folder / "a");
  BOOST_TEST(second.read<float>("weight") == contents.weight);
}

BOOST_AUTO_TEST_CASE(a_wrong_name_is_answered_with_the_nearest_one) {
  const TemporaryFolder folder;
  SafeTensorsWriter writer;
  const std::vector<float> one(1);
  for (const char* name :
       {"blocks.0.attn.qkv.weight", "blocks.1.attn.qkv.weight", "blocks.1.attn.qkv.bias", "pos_embed"}) {
    writer.add<float>(name, {1}, one);
  }
  writer.write(folder / "a");
  const SafeTensors file(folder / "a");
  const auto error = [&](const char* name) { return message_of<Error>([&] { file.read<float>(name); }); };
  BOOST_TEST(error("blocks.1.atn.qkv.weights") == text("SafeTensors: ", (folder / "a").string(),
                                                       ": no tensor \"blocks.1.atn.qkv.weights\"; the nearest is "
                                                       "\"blocks.1.attn.qkv.weight\""));
  BOOST_TEST(error("posembed").ends_with("the nearest is \"pos_embed\""));
  BOOST_TEST(error("").ends_with("the nearest is \"pos_embed\""));
  BOOST_TEST(detail::edit_distance("kitten", "sitting") == 3u);
  BOOST_TEST(detail::edit_distance("", "abc") == 3u);
  BOOST_TEST(detail::edit_distance("abc", "") == 3u);
}

BOOST_AUTO_TEST_CASE(numbers_that_cannot_be_kept_name_the_tensor) {
  const std::string bytes = safetensors_file(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "abcd");
  BOOST_TEST(message_of<Error>([&] { parse_safetensors(bytes).read<index_t>("a"); }) ==
             "SafeTensors: f: tensor \"a\": expected integers, file has floating-point numbers");
}

BOOST_AUTO_TEST_CASE(a_tensor_of_another_file_is_refused) {
  const std::string bytes = safetensors_file(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", "abcd");
  BOOST_TEST(message_of<Error>([&] {
               parse_safetensors(bytes).bytes({"b", "U8", {5}, 0, 5});
             }) == "SafeTensors: f: \"b\" is of another file");
}

BOOST_AUTO_TEST_CASE(the_difference_has_a_line_for_everything) {
  const TemporaryFolder folder;
  const Contents contents;
  contents.writer().write(folder / "a");
  const SafeTensors file(folder / "a");
  std::vector<TensorSpec> expected;
  for (const TensorInfo& info : file.tensors()) expected.push_back({info.name, info.dtype, info.shape});
  BOOST_TEST(diff(expected, file) == "");
  expected = {
      {"weight", "F32", {3, 2}}, {"gone", "F32", {}}, {"half", "F32", {2}}, {"image", "U8", {3}}, {"step", "I64", {}}};
  BOOST_TEST(diff(expected, file) ==
             "wrong shape: weight: expected [3, 2], file has [2, 3]\n"
             "missing: gone: expected F32 []\n"
             "wrong dtype: half: expected F32, file has BF16\n"
             "wrong shape: half: expected [2], file has [1, 2]\n"
             "unexpected: moment: file has F64 [2]\n"
             "unexpected: empty: file has F32 [0, 4]\n");
}

BOOST_AUTO_TEST_CASE(the_writer_refuses_what_the_reader_would) {
  SafeTensorsWriter writer;
  const std::vector<float> two(2);
  const auto bytes = std::as_bytes(std::span(two));
  writer.add("a", "F32", {2}, bytes);
  const auto error = [&](const std::string& name, const std::string& dtype, std::vector<index_t> shape) {
    return message_of<Error>([&] { writer.add(name, dtype, std::move(shape), bytes); });
  };
  BOOST_TEST(error("a", "F32", {2}) == "SafeTensorsWriter: tensor \"a\": added twice");
  BOOST_TEST(error("b", "F33", {2}) == "SafeTensorsWriter: tensor \"b\": unknown dtype \"F33\"");
  BOOST_TEST(error("b", "F32", {3}) == "SafeTensorsWriter: tensor \"b\": expected 12 bytes for F32 [3], got 8");
  BOOST_TEST(error("b", "F32", {-2}) == "SafeTensorsWriter: tensor \"b\": expected extents >= 0, got shape [-2]");
  for (const char* name : {"__metadata__", "\xff"}) {
    BOOST_TEST(error(name, "F32", {2}).ends_with("expected another name, this one is reserved or not UTF-8"));
  }
  BOOST_TEST(message_of<Error>([&] { writer.set_metadata("k", "\xff"); }) ==
             "SafeTensorsWriter: metadata \"k\": expected UTF-8");
  const TemporaryFolder folder;
  writer.write(folder / "a");
  BOOST_TEST(SafeTensors(folder / "a").tensors().size() == 1u);
}

BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_file) {
  const TemporaryFolder folder;
  const Contents contents;
  contents.writer().write(folder / "a");
  const std::string before = read_text(folder / "a");
  write_text(folder / ".a.1-1.sra-tmp", "left by a killed process");
  const std::vector<float> big(10'000);
  SafeTensorsWriter writer;
  writer.add<float>("big", {10'000}, big);
  const std::string message = [&] {
    const FileSizeLimit limit(20'000);
    return message_of<Error>([&] { writer.write(folder / "a"); });
  }();
  BOOST_TEST(message.starts_with("atomic_write: " + (folder / "a").string() + ": cannot write 40000 bytes at byte "));
  BOOST_TEST(read_text(folder / "a") == before);
  BOOST_TEST(folder.entries() == 1u);
}

BOOST_AUTO_TEST_CASE(missing_files_and_folders_are_named) {
  const TemporaryFolder folder;
  BOOST_TEST(message_of<Error>([&] { SafeTensors file(folder / "none"); }).find((folder / "none").string()) !=
             std::string::npos);
  BOOST_TEST(message_of<Error>([&] { SafeTensors file(folder.path()); }).ends_with("expected a file, got a folder"));
}

BOOST_AUTO_TEST_CASE(golden_files_are_read_as_json_reads_them, *boost::unit_test::precondition(golden_is_there)) {
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(golden_folder())) {
    if (entry.path().extension() != ".safetensors") continue;
    BOOST_TEST_CONTEXT(entry.path().string()) check_against_json(entry.path());
    ++files;
  }
  BOOST_TEST(files > 0);
}

BOOST_AUTO_TEST_SUITE_END()
