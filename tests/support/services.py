# SPDX-License-Identifier: Apache-2.0
"""Real servers for the tests and the demo: Redis, Redis Stack, and the embedding endpoint. Each is
a context manager that waits until the server answers and stops it in any case."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import redis

ROOT = pathlib.Path(__file__).resolve().parents[2]
START_SECONDS = 60


@dataclass
class RedisServer:
    port: int
    socket_path: str
    directory: pathlib.Path
    pid: int
    modules: bool = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_url(self) -> str:
        return f"unix://{self.socket_path}"

    def client(self, **options) -> redis.Redis:
        """A client with the protocol's second version, whose replies are plain lists."""
        return redis.Redis(host="127.0.0.1", port=self.port, **{"protocol": 2, **options})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(process: subprocess.Popen) -> None:
    """Ends the process; kills it when it does not go by itself, or when we are interrupted."""
    try:
        process.terminate()
        process.wait(timeout=10)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


def tail(path: pathlib.Path, lines: int = 15) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError as error:
        return f"(no log: {error})"


@contextlib.contextmanager
def redis_server(
    program: str | os.PathLike = "redis-server",
    modules: Sequence[str] = (),
    options: Sequence[str] = (),
    environment: dict[str, str] | None = None,
) -> Iterator[RedisServer]:
    """A redis-server on a free loopback port and a unix socket, without persistence unless
    `options` (redis.conf lines as arguments) ask for it."""
    if shutil.which(program) is None:
        raise RuntimeError(f"{program} is not installed (Debian package redis-server)")
    # Its own short folder: a socket's path may have 107 bytes only.
    directory = pathlib.Path(tempfile.mkdtemp(prefix="vkb-redis-"))
    port = free_port()
    socket_path = str(directory / "redis.sock")
    log = directory / "redis.log"
    command = [
        str(program),
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--unixsocket",
        socket_path,
    ]
    command += [
        "--dir",
        str(directory),
        "--save",
        "",
        "--appendonly",
        "no",
        "--daemonize",
        "no",
        *options,
    ]
    for module in modules:
        command += ["--loadmodule", *module.split()]
    with open(log, "wb") as out:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # Ctrl-C is ours to handle
        )
    try:
        server = RedisServer(port, socket_path, directory, process.pid, bool(modules))
        wait_for_redis(server, process, log)
        yield server
    finally:
        try:
            stop(process)
        finally:
            shutil.rmtree(directory, ignore_errors=True)


def wait_for_redis(server: RedisServer, process: subprocess.Popen, log: pathlib.Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            # Through the socket: the port could have been taken by somebody else meanwhile.
            redis.Redis(unix_socket_path=server.socket_path).ping()
            return
        except redis.AuthenticationError:
            return
        except redis.RedisError as error:
            if process.poll() is not None:
                raise RuntimeError(f"redis-server ended at once; its log:\n{tail(log)}") from error
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"redis-server does not answer ({error}):\n{tail(log)}"
                ) from error
            time.sleep(0.02)


@contextlib.contextmanager
def embed_endpoint(port: int = 0, log: pathlib.Path | None = None) -> Iterator[str]:
    """tools/demo/embed_server.py on `port` (0: a free one); gives its address."""
    with contextlib.ExitStack() as stack:
        err = (
            stack.enter_context(open(log, "wb"))
            if log
            else stack.enter_context(tempfile.TemporaryFile())
        )
        process = subprocess.Popen(
            [sys.executable, "-B", str(ROOT / "tools/demo/embed_server.py"), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=err,
            text=True,
            start_new_session=True,
        )
        stack.callback(stop, process)
        assert process.stdout is not None
        stack.callback(process.stdout.close)
        address = process.stdout.readline().strip()  # printed when it answers; "" when it ended
        if not address:
            err.seek(0) if not log else None
            reason = tail(log) if log else err.read().decode(errors="replace")
            raise RuntimeError(f"the embedding endpoint did not start:\n{reason}")
        yield address


def exit_on_termination() -> None:
    """Makes SIGTERM and SIGHUP run the `finally` blocks, as Ctrl-C does."""

    def leave(number: int, _frame: object) -> None:
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(each, signal.SIG_IGN)  # once is enough: the clean-up is on its way
        sys.exit(128 + number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)
