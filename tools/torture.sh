#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Kills writers, takes their power away, lets their calls of the operating system fail and damages
# the pages of their stores, until ROUNDS kills were made (and a quarter as many power losses), with
# other random numbers each time; without ROUNDS until it is stopped. Ends with the counts.
# TMPDIR=/dev/shm makes it several times as fast: nothing here rests on a disk's own syncs.
# usage: tools/torture.sh BUILD_FOLDER [ROUNDS]
set -uo pipefail
build=${1:?usage: tools/torture.sh BUILD_FOLDER [ROUNDS]}
rounds=${2:-}
log=$build/torture.log
: >"$log"

counts() {
  awk '/^torture: [0-9]/ {total[substr($0, index($0, $3))] += $2}
       END {for (what in total) printf "%d %s\n", total[what], what}' "$log" | sort -k2
}
finish() {
  kill $(jobs -p) 2>/dev/null
  echo
  counts
  [ "${1:-0}" = 0 ] && echo "0 acknowledged operations lost, 0 wrong answers, 0 crashes"
  exit "${1:-0}"
}
# run PROGRAM OUTPUT: its counts go to the log, and what it printed is kept when it fails.
run() {
  "$build/tests/$1" >"$2" 2>&1
  local status=$?
  grep -a '^torture: ' "$2" >>"$log"
  [ "$status" = 0 ] && return
  cat "$2"
  echo "torture: tests/$1 failed (seed $VKB_SEED); what it printed is above"
  return 1
}
trap finish INT TERM

# What does not differ from round to round: each call and each page, once.
export VKB_SEED=1
VKB_FAULTS_EVERY=1 run crash/vkb_fault_tests "$build/torture_faults.out" &
faults=$!
VKB_PAGES_EVERY=1 run corrupt/vkb_corrupt_tests "$build/torture_pages.out" &
pages=$!
for ((; ; ++VKB_SEED)); do
  export VKB_SEED
  VKB_CRASH_ROUNDS=400 run crash/vkb_crash_tests "$build/torture.out" || finish 1
  VKB_POWER_LOSS_IMAGES=100 run crash/vkb_power_loss_tests "$build/torture.out" || finish 1
  kills=$(counts | awk '/ kills/ {print $1}')
  echo "torture: $kills kills so far" >&2
  [ -n "$rounds" ] && [ "$kills" -ge "$rounds" ] && break
done
wait $faults || finish 1
wait $pages || finish 1
finish
