# SPDX-License-Identifier: Apache-2.0

# vkb_target(name): the settings every target of ours has: the repository root as include path, all
# warnings as errors, and the sanitizers asked for.
function(vkb_target name)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wconversion -Wshadow -Werror)
  # GCC 12 sees overlapping copies in `"text" + std::string(...)` that are not there (its bug 105651).
  target_compile_options(${name} PRIVATE $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
  if(VKB_SANITIZE)
    target_compile_options(${name} PRIVATE -fsanitize=${VKB_SANITIZE} -fno-omit-frame-pointer
                                           -fno-sanitize-recover=all)
    target_link_options(${name} PUBLIC -fsanitize=${VKB_SANITIZE})
  endif()
endfunction()

# vkb_test(name sources... [LIBRARIES ...] [LABELS ...]): a GoogleTest program, each test known to ctest.
function(vkb_test name)
  cmake_parse_arguments(ARG "" "" "LIBRARIES;LABELS" ${ARGN})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  vkb_target(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBRARIES} GTest::gtest GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" ENVIRONMENT
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/support/tsan.supp")
endfunction()
