# Every header compiles alone, without a warning, under clang++ or nvcc; so does the program of the README.
# SPDX-License-Identifier: MIT
# g++, which has the same standard library and compiles the tests, and nvcc compile sra.hpp; SRA_CUDA asks nvcc for each.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
     ${PROJECT_SOURCE_DIR}/include/sra/*.hpp)
list(FILTER headers EXCLUDE REGEX "^sra/cuda/")
foreach(header IN LISTS headers)
  if(header STREQUAL sra/extra/nvtx.hpp) # its headers come with nvcc
    continue()
  endif()
  foreach(compiler IN ITEMS g++ clang++)
    if(compiler STREQUAL clang++ OR header STREQUAL sra/sra.hpp)
      sra_add_static_test(headers/${compiler}/${header} ${CMAKE_CURRENT_SOURCE_DIR}/headers/compile_alone.sh
                          ${SRA_${compiler}} ${header} ${sra_include_flags})
    endif()
  endforeach()
endforeach()
find_program(SRA_nvcc nvcc HINTS /usr/local/cuda/bin)
file(GLOB_RECURSE cuda_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
     ${PROJECT_SOURCE_DIR}/include/sra/cuda/*.cuh)
if(NOT SRA_CUDA)
  set(headers sra/sra.hpp sra/extra/nvtx.hpp)
endif()
# Eigen 3.4 does not compile without warnings under nvcc.
list(REMOVE_ITEM headers sra/extra/eigen.hpp sra/extra/linear_probe.hpp sra/extra/neighbours.hpp sra/extra/pca.hpp)
foreach(header IN LISTS headers cuda_headers)
  sra_add_static_test(headers/nvcc/${header} ${CMAKE_CURRENT_SOURCE_DIR}/headers/compile_alone.sh ${SRA_nvcc} ${header}
                      ${sra_include_flags})
endforeach()
foreach(compiler IN ITEMS g++ clang++)
  sra_add_static_test(headers/${compiler}/readme_program ${CMAKE_CURRENT_SOURCE_DIR}/headers/readme_program.sh
                      ${SRA_${compiler}} ${PROJECT_SOURCE_DIR}/README.md ${sra_include_flags})
endforeach()
