#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Kills writers, takes their power away, lets their calls of the operating system fail and damages
# the pages of their stores, until ROUNDS kills were made (and a fifth as many power losses), with
# other random numbers each time; without ROUNDS until it is stopped. Ends with the counts.
# usage: tools/torture.sh BUILD_FOLDER [ROUNDS]
set -uo pipefail
build=${1:?usage: tools/torture.sh BUILD_FOLDER [ROUNDS]}
rounds=${2:-}
log=$build/torture.log
: >"$log"

counts() {
  awk '/^torture: / {total[substr($0, index($0, $3))] += $2}
       END {for (what in total) printf "%d %s\n", total[what], what}' "$log" | sort -k2
}
finish() {
  echo
  counts
  [ "${1:-0}" = 0 ] && echo "0 acknowledged operations lost, 0 wrong answers, 0 crashes"
  exit "${1:-0}"
}
run() {
  "$build/tests/$1" >"$build/torture.out" 2>&1
  local status=$?
  grep '^torture: ' "$build/torture.out" >>"$log"
  [ "$status" = 0 ] && return
  cat "$build/torture.out"
  echo "torture: tests/$1 failed (seed $VKB_SEED); what it printed is above"
  finish 1
}
trap finish INT TERM

for ((VKB_SEED = 1; ; ++VKB_SEED)); do
  export VKB_SEED
  VKB_CRASH_ROUNDS=400 run crash/vkb_crash_tests
  VKB_POWER_LOSS_IMAGES=100 run crash/vkb_power_loss_tests
  if [ "$VKB_SEED" = 1 ]; then
    VKB_FAULTS_EVERY=1 run crash/vkb_fault_tests
    VKB_PAGES_EVERY=1 run corrupt/vkb_corrupt_tests
  fi
  kills=$(counts | awk '/ kills/ {print $1}')
  echo "torture: $kills kills so far" >&2
  [ -n "$rounds" ] && [ "$kills" -ge "$rounds" ] && finish
done
