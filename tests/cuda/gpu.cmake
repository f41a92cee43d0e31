# Tests that run kernels on a GPU, compiled by nvcc from the same sources; without a device they end as skipped.
# SPDX-License-Identifier: MIT
find_library(SRA_BOOST_TEST_ARCHIVE libboost_unit_test_framework.a)
if(NOT SRA_NVCC)
  return()
elseif(NOT SRA_BOOST_TEST_ARCHIVE)
  message(WARNING "sra: the tests on a GPU are left out: they need libboost_unit_test_framework.a")
  return()
endif()

file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/ops/*_test.cpp)
list(APPEND sources ${CMAKE_CURRENT_SOURCE_DIR}/expr/pointwise_test.cpp
     ${CMAKE_CURRENT_SOURCE_DIR}/cuda/attention_test.cpp ${CMAKE_CURRENT_SOURCE_DIR}/cuda/trainer_test.cpp
     ${CMAKE_CURRENT_SOURCE_DIR}/cuda/warpgroup_test.cpp)
list(REMOVE_ITEM sources ${CMAKE_CURRENT_SOURCE_DIR}/ops/refused_operands_test.cpp) # runs no kernel
set(CMAKE_CUDA_FLAGS_RELEASE "-O1") # of the host's code, which compiles long; ptxas optimises the device's all the same
add_custom_target(gpu_tests)
foreach(source IN LISTS sources)
  cmake_path(GET source PARENT_PATH path)
  cmake_path(GET path FILENAME folder)
  cmake_path(GET source STEM name)
  set(target gpu_${folder}_${name})
  set(copy ${CMAKE_CURRENT_BINARY_DIR}/gpu/${target}.cu)
  # The source, but for how Boost.Test is linked: a program must not need a library that another machine lacks.
  file(READ ${source} text)
  string(REPLACE "#define BOOST_TEST_DYN_LINK\n" "#include \"needs_device.cuh\"\n" text "${text}")
  file(CONFIGURE OUTPUT ${copy} CONTENT "${text}" @ONLY)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${source})
  sra_add_gpu_program(${target} ${copy} ${SRA_BOOST_TEST_ARCHIVE})
  target_include_directories(${target} PRIVATE ${path} ${CMAKE_CURRENT_SOURCE_DIR}/cuda)
  add_dependencies(gpu_tests ${target})
  string(REGEX REPLACE "_test$" "" case ${name})
  add_test(NAME gpu/${folder}/${case} COMMAND ${target} --color_output=no)
  set_tests_properties(gpu/${folder}/${case} PROPERTIES LABELS gpu TIMEOUT 300 SKIP_RETURN_CODE 77 RUN_SERIAL ON)
endforeach()

# The goldens: scripts/parity's program for the committed set, which lies in the tree.
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
