# A project of somebody else uses the library: installed, fetched, as a folder of its own tree, and by the compiler alone.
# SPDX-License-Identifier: MIT
foreach(way IN ITEMS find_package fetch_content add_subdirectory include_path)
  sra_add_static_test(install/${way} ${CMAKE_CURRENT_SOURCE_DIR}/install/consume.sh ${way} ${PROJECT_BINARY_DIR}
                      ${PROJECT_SOURCE_DIR} ${CMAKE_COMMAND} ${CMAKE_GENERATOR} ${CMAKE_CXX_COMPILER})
endforeach()
# A study made from template/.
sra_add_static_test(install/study ${CMAKE_CURRENT_SOURCE_DIR}/install/study.sh ${PROJECT_BINARY_DIR} ${PROJECT_SOURCE_DIR}
                    ${CMAKE_COMMAND} ${CMAKE_GENERATOR} ${CMAKE_CXX_COMPILER})
