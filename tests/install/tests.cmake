# A project of somebody else uses the library in both ways: installed, and as a folder of its own tree.
# SPDX-License-Identifier: MIT
foreach(way IN ITEMS find_package add_subdirectory)
  sra_add_static_test(install/${way} ${CMAKE_CURRENT_SOURCE_DIR}/install/consume.sh ${way} ${PROJECT_BINARY_DIR}
                      ${PROJECT_SOURCE_DIR} ${CMAKE_COMMAND} ${CMAKE_GENERATOR} ${CMAKE_CXX_COMPILER})
endforeach()
