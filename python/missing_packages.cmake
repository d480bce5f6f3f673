# SPDX-License-Identifier: Apache-2.0
# Says which Debian packages are missing, before the first find_package() fails with less to say.
# The list is the one in tools/setup.sh, without what only tests and services need.
find_program(DPKG_QUERY dpkg-query)
if(DPKG_QUERY AND NOT DEFINED ENV{VKB_SKIP_SETUP})
  file(STRINGS "${VKB_SOURCE}/tools/setup.sh" lines REGEX "^  [a-z].*-dev|^  g\\+\\+")
  string(JOIN " " words ${lines})
  string(REGEX MATCHALL "[a-z0-9.+-]+-dev|pkg-config|g\\+\\+" packages "${words}")
  list(REMOVE_ITEM packages libgtest-dev libbenchmark-dev)
  set(missing "")
  foreach(package IN LISTS packages)
    execute_process(COMMAND "${DPKG_QUERY}" -W -f "\${db:Status-Status}" "${package}"
                    OUTPUT_VARIABLE status ERROR_QUIET)
    if(NOT status STREQUAL "installed")
      list(APPEND missing "${package}")
    endif()
  endforeach()
  if(missing)
    string(JOIN " " missing ${missing})
    message(FATAL_ERROR "vkb is built with Debian packages that are not installed: ${missing}\n"
      "Install them with: sudo apt-get install ${missing}\n"
      "(tools/setup.sh does the same. Where they come from elsewhere, set VKB_SKIP_SETUP=1.)")
  endif()
endif()
