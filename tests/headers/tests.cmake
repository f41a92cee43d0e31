# Every header compiles alone, without a warning, under clang++ or nvcc; so does the program of the README.
# SPDX-License-Identifier: MIT

# sra_leave_out_first(<list>) takes the headers out of a list that another one of it includes before all else: they compile alone
# when that one does.
function(sra_leave_out_first list)
  foreach(header IN LISTS ${list})
    file(STRINGS ${PROJECT_SOURCE_DIR}/include/${header} lines REGEX "^ *# *(include|if|define)" LIMIT_COUNT 1)
    if(lines MATCHES "^#include <(sra/.*)>")
      list(APPEND first ${CMAKE_MATCH_1})
    endif()
  endforeach()
  list(REMOVE_ITEM ${list} ${first})
  set(${list} ${${list}} PARENT_SCOPE)
endfunction()

# g++, which has the same standard library and compiles the tests, and nvcc compile sra.hpp; SRA_CUDA asks nvcc for each.
file(GLOB_RECURSE headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
     ${PROJECT_SOURCE_DIR}/include/sra/*.hpp)
list(FILTER headers EXCLUDE REGEX "^sra/cuda/")
set(alone ${headers})
list(REMOVE_ITEM alone sra/extra/nvtx.hpp) # its headers come with nvcc
sra_leave_out_first(alone)
foreach(header IN LISTS alone)
  sra_add_static_test(headers/clang++/${header} ${CMAKE_CURRENT_SOURCE_DIR}/headers/compile_alone.sh ${SRA_clang++}
                      ${header} ${sra_include_flags})
endforeach()
sra_add_static_test(headers/g++/sra/sra.hpp ${CMAKE_CURRENT_SOURCE_DIR}/headers/compile_alone.sh ${SRA_g++} sra/sra.hpp
                    ${sra_include_flags})
find_program(SRA_nvcc nvcc HINTS /usr/local/cuda/bin)
file(GLOB_RECURSE cuda_headers CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}/include
     ${PROJECT_SOURCE_DIR}/include/sra/cuda/*.cuh)
set(alone ${headers})
if(NOT SRA_CUDA)
  set(alone sra/sra.hpp sra/extra/nvtx.hpp)
endif()
# Eigen 3.4 does not compile without warnings under nvcc.
list(REMOVE_ITEM alone sra/extra/eigen.hpp sra/extra/linear_probe.hpp sra/extra/neighbours.hpp sra/extra/pca.hpp)
list(APPEND alone ${cuda_headers})
sra_leave_out_first(alone)
foreach(header IN LISTS alone)
  sra_add_static_test(headers/nvcc/${header} ${CMAKE_CURRENT_SOURCE_DIR}/headers/compile_alone.sh ${SRA_nvcc} ${header}
                      ${sra_include_flags})
endforeach()
foreach(compiler IN ITEMS g++ clang++)
  sra_add_static_test(headers/${compiler}/readme_program ${CMAKE_CURRENT_SOURCE_DIR}/headers/readme_program.sh
                      ${SRA_${compiler}} ${PROJECT_SOURCE_DIR}/README.md ${sra_include_flags})
endforeach()
