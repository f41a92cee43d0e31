# Every fuzzer runs for a fixed number of inputs under ASan and UBSan; longer runs are for idle machines.
# SPDX-License-Identifier: MIT
file(GLOB fuzzers CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/*_fuzz.cpp)
foreach(fuzzer IN LISTS fuzzers)
  cmake_path(GET fuzzer STEM name)
  string(REGEX REPLACE "_fuzz$" "" name ${name})
  sra_add_static_test(fuzz/${name} ${CMAKE_CURRENT_SOURCE_DIR}/fuzz/run_fuzzer.sh ${SRA_clang++} ${fuzzer}
                      ${PROJECT_BINARY_DIR}/fuzz ${sra_include_flags})
endforeach()
