# SPDX-License-Identifier: Apache-2.0
# `cmake --install` gives the program, the libraries and find_package(vkb): target vkb::vkb,
# `#include <vkb/vkb.h>`.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

install(TARGETS vkb_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(TARGETS vkb_serve RUNTIME DESTINATION libexec/vkb)
install(TARGETS vkb_engine vkb_storage EXPORT vkb-targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(FILES engine/vkb.h engine/backup.h engine/explanation.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vkb)
install(FILES storage/error.h storage/filter.h storage/value.h
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/vkb/storage)
install(EXPORT vkb-targets NAMESPACE vkb:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkb)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/vkb-config.cmake.in
                              ${PROJECT_BINARY_DIR}/vkb-config.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkb)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/vkb-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/vkb-config.cmake ${PROJECT_BINARY_DIR}/vkb-config-version.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/vkb)

# What the Python package links when it is built beside a finished build (python/CMakeLists.txt).
export(TARGETS vkb_storage vkb_engine vkb_chroma NAMESPACE vkb::
       FILE ${PROJECT_BINARY_DIR}/vkb-build-targets.cmake)
