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
output=$build/torture
rm -rf "$output" && mkdir "$output" || exit 1

counts() {
  awk '/^torture: [0-9]/ {total[substr($0, index($0, $3))] += $2}
       END {for (what in total) printf "%d %s\n", total[what], what}' "$output"/* | sort -k2
}
# What does not differ from round to round, each call and each page, runs once beside the rounds.
declare -A once
start() {
  VKB_SEED=1 stdbuf -oL "$build/tests/$1" >"$output/$(basename "$1")" 2>&1 &
  once[$1]=$!
}
# failed PROGRAM OUTPUT: shows what it printed.
failed() {
  cat "$2"
  echo "torture: tests/$1 failed (seed $VKB_SEED); what it printed is above"
}
finish() {
  local status=$1
  trap '' INT TERM
  for program in "${!once[@]}"; do
    if kill "${once[$program]}" 2>/dev/null; then
      echo "torture: tests/$program was stopped before its end"
    else
      ended "$program" || status=1
    fi
  done
  { wait; } 2>/dev/null
  echo
  counts
  [ "$status" = 0 ] && echo "0 acknowledged operations lost, 0 wrong answers, 0 crashes in these"
  exit "$status"
}
# ended PROGRAM: waits for one that runs once; whether it passed.
ended() {
  local status=0
  wait "${once[$1]}" || status=1  # a signal may come meanwhile: finish() stops it then
  unset "once[$1]"
  [ "$status" = 0 ] || { failed "$1" "$output/$(basename "$1")" && return 1; }
}
trap 'finish 0' INT TERM

export VKB_SEED=1
VKB_FAULTS_EVERY=1 start crash/vkb_fault_tests
VKB_PAGES_EVERY=1 start corrupt/vkb_corrupt_tests
for ((; ; ++VKB_SEED)); do
  for program in crash/vkb_crash_tests crash/vkb_job_kill_tests crash/vkb_power_loss_tests; do
    VKB_CRASH_ROUNDS=400 VKB_POWER_LOSS_IMAGES=100 "$build/tests/$program" >"$output/now" 2>&1 ||
      { failed "$program" "$output/now" && finish 1; }
    grep -a '^torture: ' "$output/now" >>"$output/rounds"
    rm "$output/now"
  done
  kills=$(counts | awk '/ kills/ {kills += $1} END {print kills + 0}')
  echo "torture: $kills kills so far" >&2
  [ -n "$rounds" ] && [ "$kills" -ge "$rounds" ] && break
done
for program in "${!once[@]}"; do
  ended "$program" || finish 1
done
finish 0
