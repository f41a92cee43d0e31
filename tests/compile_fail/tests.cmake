# Every wrong program fails with one expected sentence; control programs (`// expect-ok`) compile.
# SPDX-License-Identifier: MIT
file(GLOB programs CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/*.cpp)
foreach(compiler IN ITEMS g++ clang++)
  # What includes all of the library finds it compiled.
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/compile_fail/${compiler})
  sra_add_static_test(compile_fail/${compiler}/headers ${CMAKE_CURRENT_SOURCE_DIR}/precompile.sh ${SRA_${compiler}}
                      ${folder} ${sra_include_flags})
  set_tests_properties(compile_fail/${compiler}/headers PROPERTIES FIXTURES_SETUP headers_of_${compiler})
  foreach(program IN LISTS programs)
    cmake_path(GET program STEM name)
    set(flags ${sra_include_flags})
    file(STRINGS ${program} whole REGEX "#include (<sra/sra\\.hpp>|\"value\\.hpp\")")
    if(whole)
      list(APPEND flags -include ${folder}/sra.hpp)
    endif()
    sra_add_static_test(compile_fail/${compiler}/${name} ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/expect_failure.sh
                        ${SRA_${compiler}} ${program} ${flags})
    if(whole)
      set_tests_properties(compile_fail/${compiler}/${name} PROPERTIES FIXTURES_REQUIRED headers_of_${compiler})
    endif()
  endforeach()
endforeach()
# The harness itself must be able to fail.
sra_add_static_test(compile_fail/harness ${CMAKE_CURRENT_SOURCE_DIR}/compile_fail/harness_test.sh ${SRA_g++})
