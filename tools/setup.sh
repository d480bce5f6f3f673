#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages vkb is built and tested with, and only those that are missing.
# usage: tools/setup.sh [lint]      lint: clang-format and clang-tidy too
# Needs root or passwordless sudo when something is missing. VKB_SKIP_SETUP=1 skips the check.
set -euo pipefail
export LC_ALL=C

packages=(
  g++ make cmake ninja-build pkg-config
  libsqlite3-dev libhnswlib-dev libxsimd-dev libeigen3-dev libhiredis-dev libre2-dev libxxhash-dev libzstd-dev
  libroaring-dev
  nlohmann-json3-dev libsimdjson-dev libyaml-cpp-dev libcurl4-openssl-dev libcli11-dev
  libboost-dev libssl-dev prometheus-cpp-dev
  libgtest-dev libbenchmark-dev
  redis-server openssl python3 python3-dev python3-venv ca-certificates
)
if [ "${1:-}" = lint ]; then packages+=(clang-format clang-tidy); fi

[ -z "${VKB_SKIP_SETUP:-}" ] || exit 0

fail() {
  printf 'setup: %s\n' "$@" >&2
  exit 1
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  fail "this is not Debian or Ubuntu, so nothing was installed. Wanted, by their Debian 12 names:" \
    "  ${packages[*]}" "With these in place, go on with VKB_SKIP_SETUP=1."
fi

missing=()
for package in "${packages[@]}"; do
  # shellcheck disable=SC2016
  status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$status" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" = 0 ]; then
  as_root=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n env)
else
  fail "missing packages: ${missing[*]}" \
    "Installing them needs root (or sudo without a password). Run:" \
    "  sudo apt-get install ${missing[*]}"
fi

# Packages with a service start it when installed. A policy-rc.d that answers 101 forbids that; one
# that is there already is somebody's decision and stays.
policy=/usr/sbin/policy-rc.d
log=$(mktemp)
policy_is_ours=
clean_up() {
  rm -f "$log"
  [ -z "$policy_is_ours" ] || "${as_root[@]}" rm -f "$policy"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
if [ ! -e "$policy" ]; then
  policy_is_ours=yes
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
  "${as_root[@]}" chmod 755 "$policy"
fi

install() {
  "${as_root[@]}" DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "${missing[@]}" </dev/null >"$log" 2>&1
}

echo "setup: installing ${missing[*]}" >&2
# Package lists may be absent or out of date: they are fetched when the first try shows it.
if ! install; then
  "${as_root[@]}" apt-get update -o DPkg::Lock::Timeout=300 </dev/null >"$log" 2>&1 || {
    tail -n 15 "$log" >&2
    fail "apt-get update failed (last lines above); wanted: ${missing[*]}"
  }
  install || {
    tail -n 15 "$log" >&2
    fail "apt-get could not install: ${missing[*]} (last lines above)"
  }
fi

# vkb starts servers of its own on free ports; the system's service was not asked for.
case " ${missing[*]} " in
  *" redis-server "*)
    "${as_root[@]}" update-rc.d redis-server disable >/dev/null 2>&1 || true
    echo "setup: redis-server is installed but its system service is left disabled" >&2
    ;;
esac
