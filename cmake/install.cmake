# Installs the headers and what find_package(sra) needs.
# SPDX-License-Identifier: MIT
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(sra_package_dir ${CMAKE_INSTALL_DATADIR}/cmake/sra)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/sraConfig.cmake.in ${PROJECT_BINARY_DIR}/sraConfig.cmake
                              INSTALL_DESTINATION ${sra_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/sraConfigVersion.cmake COMPATIBILITY SameMinorVersion
                                                                                            ARCH_INDEPENDENT)

install(
  DIRECTORY ${PROJECT_SOURCE_DIR}/include/sra
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING
  PATTERN "*.hpp"
  PATTERN "*.cuh")
install(TARGETS sra EXPORT sraTargets)
install(EXPORT sraTargets NAMESPACE sra:: DESTINATION ${sra_package_dir})
install(FILES ${PROJECT_BINARY_DIR}/sraConfig.cmake ${PROJECT_BINARY_DIR}/sraConfigVersion.cmake
        DESTINATION ${sra_package_dir})
