# Every wrong program fails with one expected sentence; control programs (`// expect-ok`) compile.
# SPDX-License-Identifier: MIT
file(GLOB programs CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cpp)
foreach(program IN LISTS programs)
  cmake_path(GET program STEM name)
  foreach(compiler IN ITEMS g++ clang++)
    sra_add_static_test(compile_fail/${compiler}/${name} ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/expect_failure.sh
                        ${SRA_${compiler}} ${program} ${sra_include_flags})
  endforeach()
endforeach()
# The harness itself must be able to fail.
sra_add_static_test(compile_fail/harness ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/harness_test.sh ${SRA_g++})
