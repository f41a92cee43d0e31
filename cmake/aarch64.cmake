# Toolchain of the preset aarch64: Debian's cross compiler, libraries of the architecture arm64, programs run by qemu.
# SPDX-License-Identifier: MIT
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
# With the libraries of arm64 alone: those of the cross compiler beside them are of another release, and threads hang.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64-static)
