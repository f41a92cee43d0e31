// Tests event files against checksums of the standard and a file that TensorBoard's own writer made.
// SPDX-License-Identifier: MIT
#include "../temporary_folder.hpp"

#include <sra/extra/tensorboard.hpp>

#include <boost/test/unit_test.hpp>

#include <numeric>
#include <string>

using namespace sra;

namespace {

std::string from_hex(const std::string& digits) {
  std::string bytes;
  for (std::size_t i = 0; i < digits.size(); i += 2)
    bytes += static_cast<char>(static_cast<unsigned char>(std::stoi(digits.substr(i, 2), nullptr, 16)));
  return bytes;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(tensorboard)

BOOST_AUTO_TEST_CASE(checksums_are_those_of_the_standard) {
  // RFC 3720, appendix B.4, and the usual check value.
  BOOST_TEST(crc32c("123456789") == 0xe3069283u);
  BOOST_TEST(crc32c(std::string(32, '\0')) == 0x8a9136aau);
  BOOST_TEST(crc32c(std::string(32, '\xff')) == 0x62a8ab43u);
  std::string rising(32, '\0');
  std::iota(rising.begin(), rising.end(), '\0');
  BOOST_TEST(crc32c(rising) == 0x46dd794eu);
  BOOST_TEST(crc32c(std::string(rising.rbegin(), rising.rend())) == 0x113fdb5cu);
  BOOST_TEST(crc32c("") == 0u);
}

BOOST_AUTO_TEST_CASE(messages_are_encoded_as_the_format_says) {
  BOOST_TEST(ProtobufMessage().integer(1, 150).encoded() == from_hex("089601"));
  BOOST_TEST(ProtobufMessage().bytes(2, "testing").encoded() == from_hex("120774657374696e67"));
  BOOST_TEST(ProtobufMessage().integer(1, -1).encoded() == from_hex("08ffffffffffffffffff01"));
  BOOST_TEST(ProtobufMessage().integer(16, 0).encoded() == from_hex("800100"));
  BOOST_TEST(ProtobufMessage().real(1, 1.0).real(2, 1.0f).encoded() == from_hex("09000000000000f03f150000803f"));
  BOOST_TEST(ProtobufMessage().bytes(1, std::string(300, 'x')).encoded().substr(0, 3) == from_hex("0aac02"));
}

BOOST_AUTO_TEST_CASE(file_has_the_bytes_of_tensorboards_own_writer) {
  // tensorboard 2.21: RecordWriter.write of the serialised Events with these wall times, steps, tags and simple_values.
  const std::string reference = from_hex(
      "1800000000000000a37f4b2209000020b0634ada411a0d627261696e2e4576656e743a323022f7392200000000000000"
      "78113dfd09000050b0634ada412a170a150a0e6c6f73732f64656e6f6973696e67150000403ff45da622250000000000"
      "0000eabc36f309000080b0634ada4110ac022a170a150a0e6c6f73732f64656e6f6973696e6715a69bc4ba4f6c25742e"
      "00000000000000c5cb57fa090000c0b0634ada41108080808080202a1c0a1a0a1376616c69646174696f6e2f61766572"
      "6167656415cdcccc3d6b76d967");
  EventFile file(1764331200.5);
  file.scalar("loss/denoising", 0, 1764331201.25, 0.75f);
  file.scalar("loss/denoising", 300, 1764331202.0, -1.5e-3f);
  file.scalar("validation/averaged", index_t{1} << 40, 1764331203.0, 0.1f);
  BOOST_TEST(file.contents() == reference);
  const sra::test::TemporaryFolder folder;
  file.write(folder / "events.out.tfevents.1");
  BOOST_TEST(sra::test::read_text(folder / "events.out.tfevents.1") == reference);
}

BOOST_AUTO_TEST_SUITE_END()
