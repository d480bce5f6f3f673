# SPDX-License-Identifier: Apache-2.0
# Links libNAME.a where a package has it beside libNAME.so: each library that is loaded costs a start of the program
# some 0.1 ms, libstdc++ with its C++ libraries 0.5 ms.

# Sets `result` to whether the imported target has an archive, which it then links.
function(vkb_use_archive target result)
  set(${result} FALSE PARENT_SCOPE)
  foreach(property IMPORTED_LOCATION IMPORTED_LOCATION_NONE INTERFACE_LINK_LIBRARIES)
    get_target_property(shared ${target} ${property})
    string(REGEX REPLACE "\\.so[.0-9]*$" ".a" archive "${shared}")
    if(archive MATCHES "\\.a$" AND EXISTS "${archive}")
      set_target_properties(${target} PROPERTIES ${property} "${archive}")
      set_property(TARGET ${target} APPEND PROPERTY
                   INTERFACE_LINK_LIBRARIES m ${CMAKE_DL_LIBS} Threads::Threads)
      set(${result} TRUE PARENT_SCOPE)
      return()
    endif()
  endforeach()
endfunction()

foreach(library SQLite::SQLite3 PkgConfig::xxhash PkgConfig::zstd PkgConfig::hiredis)
  vkb_use_archive(${library} VKB_UNUSED)
endforeach()
vkb_use_archive(yaml-cpp VKB_YAML_ARCHIVE)
set(VKB_RE2_ARCHIVE FALSE)
if(NOT re2_STATIC_LIBRARIES MATCHES "absl")  # later versions need dozens of others
  vkb_use_archive(PkgConfig::re2 VKB_RE2_ARCHIVE)
endif()
# Only a program that loads no C++ library may have the C++ runtime in itself.
if(VKB_YAML_ARCHIVE AND VKB_RE2_ARCHIVE)
  set(VKB_CXX_RUNTIME -static-libstdc++ -static-libgcc)
endif()
