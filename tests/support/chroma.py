# SPDX-License-Identifier: Apache-2.0
"""Servers that speak Chroma's API: `vkb serve` and the real `chroma run`. Each is a context manager
that waits until the server answers, keeps its output in a file, and stops it in any case."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from support import services

START_SECONDS = 60
# The place of a Chroma collection, when nothing else is said.
DATABASE = "/api/v2/tenants/default_tenant/databases/default_database"


@dataclass
class Answer:
    """A response: its status, headers (names in lower case) and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> object:
        return json.loads(self.body)


@dataclass
class ChromaServer:
    """A running server. `name` is "vkb" or "chroma"."""

    name: str
    directory: pathlib.Path
    command: list[str]
    log: pathlib.Path
    port: int = 0
    process: subprocess.Popen | None = None
    headers: dict[str, str] = field(default_factory=dict)  # of every request
    connection: http.client.HTTPConnection | None = field(default=None, repr=False)

    def log_tail(self, lines: int = 40) -> str:
        return services.tail(self.log, lines)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the process and returns when it answers."""
        with open(self.log, "ab") as out:
            pipe = subprocess.PIPE if self.name == "vkb" else out
            self.process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=pipe,
                stderr=out,
                text=True,
                cwd=self.directory,
                env=_clean_environment(self.directory),
                start_new_session=True,  # Ctrl-C is ours to handle
                # A background job ignores SIGINT, and would hand that down.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        if self.name == "vkb":
            # The line comes when the server listens; its port was free for it to choose.
            assert self.process.stdout is not None
            line = self.process.stdout.readline()
            found = re.search(r":(\d+)\D*$", line)
            if not found:
                self.stop()
                raise RuntimeError(f"vkb serve said {line!r}; its log:\n{self.log_tail()}")
            self.port = int(found[1])
        self._wait()

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if self.request("GET", "/api/v2/heartbeat").status == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.name} does not answer; its log:\n{self.log_tail()}")
            time.sleep(0.02)

    def signal(self, number: int = signal.SIGTERM) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def wait(self, timeout: float = 30) -> int:
        """Waits for the end of the process and returns its exit code."""
        assert self.process is not None
        code = self.process.wait(timeout=timeout)
        self._drop_connection()
        if self.process.stdout:
            self.process.stdout.close()
        return code

    def stop(self) -> None:
        if self.process is not None:
            services.stop(self.process)
            self.wait()

    def restart(self) -> None:
        """SIGTERM, the end of the process, and a new one on the same files."""
        self.signal()
        self.wait()
        self.start()

    def _drop_connection(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        timeout: float = 60,
    ) -> Answer:
        """One request on a kept connection. `body` is sent as JSON unless it is bytes. A connection
        that the server drops without an answer is an http.client.RemoteDisconnected."""
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        kept = self.connection is not None
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            sent = {**self.headers, **(headers or {})}
            self.connection.request(method, path, body=body, headers=sent)
            response = self.connection.getresponse()
            answer = Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        except (OSError, http.client.HTTPException):
            self._drop_connection()
            if not kept:
                raise
            # The server may have closed it after the last answer.
            return self.request(method, path, body, headers, timeout)
        if response.will_close:
            self._drop_connection()
        return answer


def _clean_environment(home: pathlib.Path) -> dict[str, str]:
    """Ours, without what would configure either server."""
    mine = {k: v for k, v in os.environ.items() if not k.startswith(("VKB_", "CHROMA_"))}
    return {**mine, "HOME": str(home)}


@contextlib.contextmanager
def running(server: ChromaServer) -> Iterator[ChromaServer]:
    try:
        server.start()
        yield server
    finally:
        server.stop()


def vkb_serve(
    binary: pathlib.Path,
    directory: pathlib.Path,
    *options: str,
    headers: dict[str, str] | None = None,
) -> contextlib.AbstractContextManager[ChromaServer]:
    """`vkb serve` on a free port, over the store `directory`/store, with reset allowed."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [str(binary), "serve", "--path", str(directory / "store"), "--port", "0"]
    command += ["--allow-reset", *options]
    log = directory / "vkb-serve.log"
    return running(ChromaServer("vkb", directory, command, log, headers=headers or {}))


def chroma_run(directory: pathlib.Path) -> contextlib.AbstractContextManager[ChromaServer]:
    """The real Chroma's server on a free port, with reset allowed."""
    directory.mkdir(parents=True, exist_ok=True)
    port = services.free_port()
    config = directory / "config.yaml"
    settings = {
        "port": port,
        "listen_address": "127.0.0.1",
        "persist_path": str(directory / "data"),
        "allow_reset": True,
        "cors_allow_origins": ["*"],
    }
    config.write_text(json.dumps(settings))  # JSON is YAML
    program = pathlib.Path(sys.executable).with_name("chroma")
    return running(
        ChromaServer(
            "chroma",
            directory,
            [str(program), "run", str(config)],
            directory / "chroma-run.log",
            port,
        )
    )
