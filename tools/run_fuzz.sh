#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every fuzz target under libFuzzer, with the address and undefined-behaviour sanitizers.
# usage: tools/run_fuzz.sh SECONDS JOBS [TARGET...]      SECONDS: for each target; JOBS: of the build
# Inputs that reach new code are kept in build/fuzz/corpus, findings in build/fuzz/findings.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 jobs=$2
shift 2

fail() {
  printf 'make fuzz: %s\n' "$@" >&2
  exit 1
}

clang=$(compgen -c clang++ | grep -Ex 'clang\+\+(-[0-9]+)?' | sort -V | tail -n 1 || true)
[ -n "$clang" ] || fail "there is no clang++, and libFuzzer comes with it alone. Install it:" \
  "  sudo apt-get install clang"
mkdir -p build/fuzz/corpus build/fuzz/findings
probe='extern "C" int LLVMFuzzerTestOneInput(const unsigned char*, unsigned long) { return 0; }'
"$clang" -x c++ -fsanitize=fuzzer,address,undefined -o build/fuzz/probe - <<<"$probe" 2>build/fuzz/probe.log ||
  fail "$clang cannot link a libFuzzer program (build/fuzz/probe.log); its runtime is missing. Install it:" \
    "  sudo apt-get install libclang-rt-dev     (or libclang-rt-14-dev, of clang's own version)"

CC=${clang/clang++/clang} CXX=$clang cmake --preset fuzz >build/fuzz/configure.log 2>&1 ||
  { cat build/fuzz/configure.log >&2; fail "cmake --preset fuzz failed"; }
cmake --build --preset fuzz --parallel "$jobs" >build/fuzz/build.log 2>&1 ||
  { tail -n 30 build/fuzz/build.log >&2; fail "the build failed (build/fuzz/build.log)"; }

targets=("$@")
if [ ${#targets[@]} = 0 ]; then
  for directory in tests/fuzz/corpus/*/; do targets+=("$(basename "$directory")"); done
fi
# Targets that write stores sync them: in memory where there is room for that.
if [ -z "${TMPDIR:-}" ] && [ -w /dev/shm ]; then export TMPDIR=/dev/shm; fi
printf '%-14s %12s %10s %10s %8s  %s\n' target executions edges features inputs result
bad=0
for target in "${targets[@]}"; do
  mkdir -p "build/fuzz/corpus/$target"
  log=build/fuzz/$target.log
  result=sound
  # The limit of time is above what another process may hold this one up.
  "build/fuzz/tests/fuzz/${target}_fuzz" -max_total_time="$seconds" -timeout=120 -rss_limit_mb=4096 \
    -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$target-" \
    "build/fuzz/corpus/$target" "tests/fuzz/corpus/$target" >"$log" 2>&1 || result="FOUND: see $log"
  [ "$result" = sound ] || bad=$((bad + 1))
  awk -v target="$target" -v result="$result" '
    / cov: / {for (i = 1; i < NF; i++) {if ($i == "cov:") edges = $(i + 1)
                                        if ($i == "ft:") features = $(i + 1)
                                        if ($i == "corp:") inputs = $(i + 1)}}
    /number_of_executed_units/ {executions = $2}
    END {sub("/.*", "", inputs)
         printf "%-14s %12s %10s %10s %8s  %s\n", target, executions, edges, features, inputs, result}' "$log"
done
[ "$bad" = 0 ] || fail "$bad targets found something; each input is in build/fuzz/findings"
