# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the Python tests: the built program and real servers."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import Callable, Iterator

import pytest

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
