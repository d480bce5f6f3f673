# SPDX-License-Identifier: Apache-2.0
# Everything vkb is built from; Debian 12 package names are in tools/setup.sh.
find_package(Threads REQUIRED)
find_package(SQLite3 3.38 REQUIRED)
find_package(simdjson 3.0 REQUIRED)
find_package(xsimd 8.1 REQUIRED)
find_package(Eigen3 3.4 REQUIRED NO_MODULE)
find_package(nlohmann_json 3.11 REQUIRED)
find_package(yaml-cpp 0.7 REQUIRED)
find_package(CURL 7.85 REQUIRED)
find_package(CLI11 2.1 REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(roaring REQUIRED)  # 0.2.66 or later; its package does not tell its version
find_package(Boost 1.74 REQUIRED)  # headers only: Asio and Beast
find_package(PkgConfig REQUIRED)
pkg_check_modules(hiredis REQUIRED IMPORTED_TARGET hiredis)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(re2 REQUIRED IMPORTED_TARGET re2)
pkg_check_modules(zstd REQUIRED IMPORTED_TARGET libzstd)
pkg_check_modules(prometheus REQUIRED IMPORTED_TARGET prometheus-cpp-core)
if(VKB_TESTS OR VKB_BENCH)
  find_path(HNSWLIB_INCLUDE_DIR hnswlib/hnswlib.h REQUIRED)  # what our graphs are held against
endif()
if(VKB_TESTS)
  find_package(GTest REQUIRED)
endif()
if(VKB_BENCH)
  find_package(benchmark REQUIRED)
endif()
