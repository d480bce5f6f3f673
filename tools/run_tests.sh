#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs the C++ tests (ctest) and the Python tests (pytest), both in any case, and ends with their
# summary lines. Fails if either does.
# usage: tools/run_tests.sh BUILD_FOLDER JOBS
set -uo pipefail
build=${1:?usage: tools/run_tests.sh BUILD_FOLDER JOBS}
jobs=${2:?usage: tools/run_tests.sh BUILD_FOLDER JOBS}
cd "$(dirname "$0")/.." || exit 1

ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$jobs" 2>&1 |
  tee "$build/ctest.log"
ctest_status=$?
VKB_BINARY=${VKB_BINARY:-$PWD/$build/tools/vkb} build/venv/bin/python -B -m pytest \
  -c tests/pytest.ini --rootdir tests tests 2>&1 | tee "$build/pytest.log"
pytest_status=$?

echo
grep -E '^[0-9]+% tests passed' "$build/ctest.log"
grep -E '^=+ .*(passed|failed|error|no tests ran).* =+$' "$build/pytest.log" | tail -n 1
[ "$ctest_status" = 0 ] && [ "$pytest_status" = 0 ]
