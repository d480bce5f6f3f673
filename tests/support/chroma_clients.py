# SPDX-License-Identifier: Apache-2.0
"""One face for the ways to reach a Chroma collection from Python, so that the same tests run over
all: the unmodified chromadb package's clients, and vkb's own."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import pathlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import chromadb
import numpy as np
import pytest
from chromadb.api.async_client import AsyncAdminClient, AsyncClient
from chromadb.api.models.AsyncCollection import AsyncCollection
from chromadb.config import Settings
from chromadb.utils.embedding_functions import register_embedding_function

from support.chroma import ChromaServer


def hash_vectors(texts: list[str], dim: int = 64) -> list[np.ndarray]:
    """A unit vector a text, from its words: equal words bring texts near each other."""
    vectors = []
    for text in texts:
        vector = np.full(dim, 0.01, "float32")
        for word in text.lower().split():
            digest = hashlib.sha256(word.encode()).digest()
            vector[int.from_bytes(digest[:4]) % dim] += 1
        vectors.append(vector / np.linalg.norm(vector))
    return vectors


@register_embedding_function
class HashEmbedding(chromadb.EmbeddingFunction):
    """An embedding function that Chroma stores with a collection and builds again."""

    def __init__(self, dim: int = 64):
        self.dim = dim

    def __call__(self, input: list[str]) -> list[np.ndarray]:
        return hash_vectors(input, self.dim)

    @staticmethod
    def name() -> str:
        return "vkb_test_hash"

    def get_config(self) -> dict[str, Any]:
        return {"dim": self.dim}

    @staticmethod
    def build_from_config(config: dict[str, Any]) -> HashEmbedding:
        return HashEmbedding(config["dim"])


class Blocking:
    """An asynchronous client or collection whose methods can be called without await."""

    def __init__(self, target: Any, loop: asyncio.AbstractEventLoop):
        self.__dict__.update(_target=target, _loop=loop)

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, (AsyncCollection, AsyncClient, AsyncAdminClient)):
            return Blocking(value, self._loop)
        if isinstance(value, (list, tuple)) and value and isinstance(value[0], AsyncCollection):
            return [self._wrap(each) for each in value]
        return value

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if not callable(value):
            return value

        def call(*arguments: Any, **named: Any) -> Any:
            result = value(*arguments, **named)
            if inspect.isawaitable(result):
                result = self._loop.run_until_complete(result)
            return self._wrap(result)

        return call

    def __eq__(self, other: object) -> bool:
        return self._target == (other._target if isinstance(other, Blocking) else other)


@dataclass
class Backend:
    """`connect(tenant=…, database=…)` makes a client, `admin()` one for tenants and databases;
    `client` is a shared one. `engine` is "vkb" or "chroma"; `errors` the module of its exceptions.
    """

    name: str
    engine: str
    connect: Callable[..., Any]
    admin: Callable[[], Any]
    errors: ModuleType

    @functools.cached_property
    def client(self) -> Any:
        return self.connect()

    @property
    def over_http(self) -> bool:
        return self.name.endswith(("http", "async"))


# Those with synchronous clients, and one without. The real server is among them: where vkb and
# Chroma are to agree, Chroma is asked too.
SYNCHRONOUS = ("vkb-http", "vkb-embedded", "vkb-native", "chroma-http")
ALL = (*SYNCHRONOUS, "vkb-async")


def open_backend(request: pytest.FixtureRequest, directory: pathlib.Path) -> Backend:
    """The backend that the fixture's parameter names; a store in the process is in `directory`."""
    engine, transport = request.param.split("-")
    if transport == "embedded":
        return embedded_backend(directory / "store")
    if transport == "native":
        return native_backend(directory / "store")
    server = request.getfixturevalue(f"{engine}_server")
    if transport == "http":
        return http_backend(server)
    loop = asyncio.new_event_loop()
    request.addfinalizer(loop.close)
    return async_backend(server, loop)


def refusal(backend: Backend, kind: str, text: str) -> Any:
    """The `with` block has to raise this class of the backend's errors, with this in its text."""
    return pytest.raises(getattr(backend.errors, kind), match=text)


def http_backend(server: ChromaServer) -> Backend:
    def connect(**options: Any) -> Any:
        return chromadb.HttpClient(host="127.0.0.1", port=server.port, **options)

    def admin() -> Any:
        settings = Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host="127.0.0.1",
            chroma_server_http_port=server.port,
        )
        return chromadb.AdminClient(settings)

    return Backend(f"{server.name}-http", server.name, connect, admin, chromadb.errors)


def async_backend(server: ChromaServer, loop: asyncio.AbstractEventLoop) -> Backend:
    def connect(**options: Any) -> Any:
        making = chromadb.AsyncHttpClient(host="127.0.0.1", port=server.port, **options)
        return Blocking(loop.run_until_complete(making), loop)

    def admin() -> Any:
        settings = Settings(
            chroma_api_impl="chromadb.api.async_fastapi.AsyncFastAPI",
            chroma_server_host="127.0.0.1",
            chroma_server_http_port=server.port,
        )
        return Blocking(AsyncAdminClient(settings), loop)

    return Backend(f"{server.name}-async", server.name, connect, admin, chromadb.errors)


def embedded_settings(directory: pathlib.Path) -> Settings:
    """The chromadb package over vkb's engine in this process."""
    return Settings(
        chroma_api_impl="vkb.chroma.EmbeddedAPI",
        is_persistent=True,
        persist_directory=str(directory),
        allow_reset=True,
    )


def embedded_backend(directory: pathlib.Path) -> Backend:
    settings = embedded_settings(directory)
    return Backend(
        "vkb-embedded",
        "vkb",
        lambda **options: chromadb.Client(settings, **options),
        lambda: chromadb.AdminClient(settings),
        chromadb.errors,
    )


def native_backend(directory: pathlib.Path) -> Backend:
    import vkb  # here, so that the other tests run without it

    settings = vkb.Settings(allow_reset=True)
    return Backend(
        "vkb-native",
        "vkb",
        lambda **options: vkb.PersistentClient(str(directory), settings=settings, **options),
        lambda: vkb.AdminClient(
            vkb.Settings(allow_reset=True, is_persistent=True, persist_directory=str(directory))
        ),
        vkb.errors,
    )
