# Tests that run kernels on a GPU, compiled by nvcc from the same sources; without a device they end as skipped.
# SPDX-License-Identifier: MIT
find_library(SRA_BOOST_TEST_ARCHIVE libboost_unit_test_framework.a)
if(NOT SRA_NVCC)
  return()
elseif(NOT SRA_BOOST_TEST_ARCHIVE)
  message(WARNING "sra: the tests on a GPU are left out: they need libboost_unit_test_framework.a")
  return()
endif()

set(SRA_GPU_TEST_FLAGS "-O1" CACHE STRING "Flags of tests on a GPU; -O is of the host's code, ptxas optimises the device's all the same")
set(CMAKE_CUDA_FLAGS_RELEASE ${SRA_GPU_TEST_FLAGS})
add_custom_target(gpu_tests)

# sra_add_gpu_test(<name> <source>...) builds one program of sources that each keep to a suite of their own: most of the time
# goes to the headers, which nvcc reads three times.
function(sra_add_gpu_test name)
  set(target gpu_${name}_test)
  set(copy ${CMAKE_CURRENT_BINARY_DIR}/gpu/${target}.cu)
  # Boost.Test is linked with its main(): a program must not need a library that another machine lacks.
  set(text "#define BOOST_TEST_MODULE ${name}\n#include <boost/test/unit_test.hpp>\n\n#include \"needs_device.cuh\"\n")
  foreach(source IN LISTS ARGN)
    string(APPEND text "#include \"${source}\"\n")
  endforeach()
  file(CONFIGURE OUTPUT ${copy} CONTENT "${text}" @ONLY)
  sra_add_gpu_program(${target} ${copy} ${SRA_BOOST_TEST_ARCHIVE})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/cuda ${CMAKE_CURRENT_SOURCE_DIR})
  add_dependencies(gpu_tests ${target})
  add_test(NAME gpu/${name} COMMAND ${target} --color_output=no)
  set_tests_properties(gpu/${name} PROPERTIES LABELS gpu TIMEOUT 300 SKIP_RETURN_CODE 77 RUN_SERIAL ON)
endfunction()

# First, so that no long one is built last.  The goldens: scripts/parity's program for the committed set, which lies in the tree.
set(target gpu_parity)
set(copy ${CMAKE_CURRENT_BINARY_DIR}/gpu/${target}.cu)
file(CONFIGURE OUTPUT ${copy} CONTENT "#include \"parity.cpp\"\n" @ONLY)
sra_add_gpu_program(${target} ${copy})
target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/parity)
target_compile_definitions(
  ${target} PRIVATE SRA_PARITY_CUDA SRA_PARITY_FAMILY="SiT" SRA_PARITY_INPUT=12 SRA_PARITY_PATCH=4 SRA_PARITY_CHANNELS=3
                    SRA_PARITY_HIDDEN=48 SRA_PARITY_DEPTH=3 SRA_PARITY_HEADS=3 SRA_PARITY_CLASSES=5
                    SRA_PARITY_QK_NORM=true)
add_dependencies(gpu_tests ${target})
set(parity ${PROJECT_SOURCE_DIR}/tests/parity)
add_test(NAME gpu/parity COMMAND ${target} ${parity}/golden/sit_qknorm ${parity}/bf16/sit_qknorm.txt)
set_tests_properties(gpu/parity PROPERTIES LABELS gpu TIMEOUT 300 SKIP_RETURN_CODE 77 RUN_SERIAL ON)

file(GLOB ops CONFIGURE_DEPENDS RELATIVE ${CMAKE_CURRENT_SOURCE_DIR} ops/*_test.cpp)
list(REMOVE_ITEM ops ops/refused_operands_test.cpp) # runs no kernel
sra_add_gpu_test(ops ${ops})
sra_add_gpu_test(pointwise expr/pointwise_test.cpp)
foreach(name IN ITEMS attention trainer warpgroup)
  sra_add_gpu_test(${name} cuda/${name}_test.cpp)
endforeach()
