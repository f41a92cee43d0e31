# How our own tests, examples and benchmarks are built; users of sra::sra see nothing of this.
# SPDX-License-Identifier: MIT
add_library(sra_warnings INTERFACE)
target_compile_options(
  sra_warnings INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror>)

# What vectorises kernels as g++ 12 does at -O2, and compiles in half of its time.  At -O1 it takes boost::function for read before
# it is written.
add_library(sra_o1 INTERFACE)
target_compile_options(
  sra_o1
  INTERFACE
    $<$<CONFIG:Release>:-O1>
    $<$<CXX_COMPILER_ID:GNU>:$<$<CONFIG:Release>:-ftree-loop-vectorize;-fvect-cost-model=very-cheap>;-Wno-maybe-uninitialized>
)

# What is not optimised is compiled by clang++, which takes half of the time of g++ at -O0.  Sanitizers keep to the compiler that
# was asked for.
find_program(SRA_clang++ clang++)
set(SRA_BY_CLANG OFF)
if(SRA_clang++ AND CMAKE_CXX_COMPILER_ID STREQUAL GNU AND CMAKE_BUILD_TYPE STREQUAL Release AND NOT CMAKE_CROSSCOMPILING
   AND NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize|--coverage")
  set(SRA_BY_CLANG ON)
endif()
add_library(sra_o0 INTERFACE)
target_compile_options(sra_o0 INTERFACE $<$<CONFIG:Release>:-O0>)

# sra_compile_by_clang(<target>) does so with all of a target: the compilers lay out what lambdas capture in different ways.
function(sra_compile_by_clang target)
  if(SRA_BY_CLANG)
    set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER
                                               "${PROJECT_SOURCE_DIR}/cmake/by_clang.sh;${SRA_clang++}")
  endif()
endfunction()

# SRA_NVCC is set if programs can be compiled for a GPU.
set(SRA_NVCC "")
if(SRA_CUDA)
  find_program(sra_nvcc nvcc PATHS /usr/local/cuda/bin)
  if(sra_nvcc)
    if(NOT CMAKE_CUDA_COMPILER)
      set(CMAKE_CUDA_COMPILER ${sra_nvcc})
    endif()
    if(NOT CMAKE_CUDA_ARCHITECTURES)
      set(CMAKE_CUDA_ARCHITECTURES 90a-real)
    endif()
    enable_language(CUDA)
    set(CMAKE_CUDA_FLAGS_RELEASE "-O2")
    find_package(CUDAToolkit REQUIRED)
    set(SRA_NVCC ${CMAKE_CUDA_COMPILER})
  else()
    message(STATUS "sra: no nvcc was found: only the CPU part is built")
  endif()
endif()

# sra_add_gpu_program(<name> <source> [<library>...]) builds one program for a GPU, which carries what it needs but cuBLASLt.
function(sra_add_gpu_program name source)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE sra::sra CUDA::cublasLt ${ARGN})
  target_compile_options(${name} PRIVATE -std=c++20)
  target_link_options(${name} PRIVATE -static-libstdc++ -static-libgcc -s)
  set_target_properties(${name} PROPERTIES CUDA_RUNTIME_LIBRARY Static SKIP_BUILD_RPATH ON)
endfunction()

find_package(JPEG QUIET)
find_package(PNG QUIET)
find_package(CLI11 QUIET)
find_package(nlohmann_json QUIET)
if(NOT CMAKE_CXX_FLAGS MATCHES "-fsanitize=thread") # which takes the barriers of libgomp for races
  find_package(OpenMP QUIET)
endif()
find_path(SRA_RANDOM123_DIR Random123/philox.h)

# Thrust without nvcc: that of the CUDA Toolkit before that of the distribution, which is older.
find_path(SRA_THRUST_DIR thrust/version.h HINTS /usr/local/cuda/include PATH_SUFFIXES cccl)
if(SRA_THRUST_DIR)
  add_library(Thrust::headers INTERFACE IMPORTED)
  target_include_directories(Thrust::headers INTERFACE ${SRA_THRUST_DIR})
  target_compile_definitions(Thrust::headers INTERFACE THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP)
  # Thrust 1.17.2 and CCCL 3.0.1: detail/reference.h dereferences a null pointer to a policy that has no members.
  target_compile_options(Thrust::headers INTERFACE -fno-sanitize=null)
endif()

# sra_add_program(<name> <source> [<library>...]) builds one program and links the libraries and what the source and its
# neighbours include.  When a package is missing, the program is left out with a warning, and <name> is no target.
function(sra_add_program name source)
  set(libraries ${ARGN})
  set(files ${source})
  set(seen ${source})
  set(includes "")
  while(files)
    list(POP_FRONT files file)
    cmake_path(GET file PARENT_PATH folder)
    file(STRINGS ${file} lines REGEX "^ *#include")
    list(APPEND includes ${lines})
    foreach(line IN LISTS lines)
      if(line MATCHES "\"(.*)\"")
        cmake_path(ABSOLUTE_PATH CMAKE_MATCH_1 BASE_DIRECTORY ${folder} NORMALIZE OUTPUT_VARIABLE neighbour)
        if(EXISTS ${neighbour} AND NOT neighbour IN_LIST seen)
          list(APPEND files ${neighbour})
          list(APPEND seen ${neighbour})
        endif()
      endif()
    endforeach()
  endwhile()
  if(includes MATCHES "<sra/extra/image_|<jpeglib")
    list(APPEND libraries JPEG::JPEG)
  endif()
  if(includes MATCHES "<sra/extra/image_|<png\\.h>")
    list(APPEND libraries PNG::PNG)
  endif()
  if(includes MATCHES "<CLI/")
    list(APPEND libraries CLI11::CLI11)
  endif()
  if(includes MATCHES "<nlohmann/")
    list(APPEND libraries nlohmann_json::nlohmann_json)
  endif()
  if(includes MATCHES "<omp\\.h>")
    list(APPEND libraries OpenMP::OpenMP_CXX)
  endif()
  if(includes MATCHES "<thrust/|<sra/cuda/around")
    list(APPEND libraries Thrust::headers)
  endif()
  foreach(library IN LISTS libraries)
    if(NOT TARGET ${library})
      message(WARNING "sra: ${name} is left out: it needs ${library}, which was not found")
      return()
    endif()
  endforeach()
  if(includes MATCHES "<Random123/" AND NOT SRA_RANDOM123_DIR)
    message(WARNING "sra: ${name} is left out: it needs the headers of Random123, which were not found")
    return()
  endif()

  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE sra::sra sra_warnings ${libraries})
  set_target_properties(${name} PROPERTIES CXX_EXTENSIONS OFF)
  set(own ${seen})
  list(FILTER own INCLUDE REGEX "\\.hpp$")
  set_property(TARGET ${name} PROPERTY sra_own_headers ${own})
  if(includes MATCHES "<Random123/")
    target_include_directories(${name} SYSTEM PRIVATE ${SRA_RANDOM123_DIR})
  endif()
endfunction()
