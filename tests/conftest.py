# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the Python tests: the built program and real servers."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Callable, Iterator

import pytest

from support import chroma, javascript
from support import redis_stack as stack
from support import services

BUILD = pathlib.Path(os.environ.get("VKB_BUILD_DIR", services.ROOT / "build")).resolve()


@pytest.fixture(scope="session")
def vkb_binary() -> pathlib.Path:
    """The program under test: VKB_BINARY, else what `make build` leaves."""
    binary = pathlib.Path(os.environ.get("VKB_BINARY", BUILD / "release/tools/vkb"))
    if not os.access(binary, os.X_OK):
        pytest.fail(f"{binary} is not there: run `make build`, or set VKB_BINARY")
    return binary.resolve()


@pytest.fixture
def vkb(
    vkb_binary: pathlib.Path, tmp_path: pathlib.Path
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the program: vkb("count", "--path", store). Its working directory is the test's own, and
    no VKB_* variable or vkb.yaml of the user reaches it."""

    def run(
        *arguments: object,
        input: str | None = None,
        check: bool = True,
        env: dict[str, str] | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith("VKB_")}
        done = subprocess.run(
            [str(vkb_binary), *map(str, arguments)],
            input=input,
            stdin=subprocess.DEVNULL if input is None else None,
            capture_output=True,
            encoding="utf-8",
            env={**clean, **(env or {})},
            cwd=tmp_path,
            timeout=timeout,
        )
        if check and done.returncode != 0:
            command = " ".join(map(str, arguments))
            pytest.fail(f"vkb {command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    return run


@pytest.fixture
def store_dir(tmp_path: pathlib.Path) -> pathlib.Path:
    """Where a test's store goes; not there yet."""
    return tmp_path / "kb"


@pytest.fixture(scope="session")
def plain_redis() -> Iterator[services.RedisServer]:
    with services.redis_server() as server:
        yield server


@pytest.fixture
def redis_server(plain_redis: services.RedisServer) -> Iterator[services.RedisServer]:
    """An empty plain Redis."""
    plain_redis.client().flushall()
    yield plain_redis


@pytest.fixture(scope="session")
def stack_redis() -> Iterator[services.RedisServer]:
    reason = stack.unavailable_reason()
    if reason:
        pytest.skip(reason)
    with stack.redis_stack(BUILD / "redis-stack") as server:
        yield server


@pytest.fixture
def redis_stack(stack_redis: services.RedisServer) -> Iterator[services.RedisServer]:
    """An empty Redis Stack, with RediSearch and RedisJSON."""
    stack_redis.client().flushall()  # drops the indexes too
    yield stack_redis


@pytest.fixture(scope="session")
def embed_endpoint() -> Iterator[str]:
    """The address of an embedding endpoint with a real model (all-minilm, 384 floats)."""
    with services.embed_endpoint() as address:
        yield address


@pytest.fixture(scope="session")
def vkb_server(
    vkb_binary: pathlib.Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[chroma.ChromaServer]:
    """`vkb serve`, shared by the tests: each resets it or keeps to collections of its own."""
    directory = tmp_path_factory.mktemp("vkb-serve")
    with chroma.vkb_serve(vkb_binary, directory, "--cors-origin", "*") as server:
        yield server


@pytest.fixture(scope="session")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chroma.ChromaServer]:
    """The real `chroma run`, shared in the same way."""
    with chroma.chroma_run(tmp_path_factory.mktemp("chroma-run")) as server:
        yield server


@pytest.fixture(scope="session")
def npm_packages() -> pathlib.Path:
    """Where the npm packages of tests/chroma/js are installed."""
    javascript.install(BUILD / "js")
    return BUILD / "js"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows the end of the logs of the servers it used."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, chroma.ChromaServer):
                report.sections.append((f"log of {value.name}", value.log_tail()))
    return report
