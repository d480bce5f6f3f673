# SPDX-License-Identifier: Apache-2.0
"""Clients for asyncio: each call runs in a thread, so that the event loop goes on meanwhile.

    client = await vkb.AsyncHttpClient("localhost", 8000)
    notes = await client.get_or_create_collection("notes")
    answer = await notes.query(query_texts=["…"])

The methods, their arguments and their answers are those of ClientAPI and Collection.
"""

from __future__ import annotations

import asyncio
import functools
from typing import Any, Awaitable, Callable, Dict, List, Optional

from .client import ClientAPI
from .collection import Collection
from .config import DEFAULT_DATABASE, DEFAULT_TENANT
from .constructors import HttpClient


def _wrapped(value: Any) -> Any:
    if isinstance(value, Collection):
        return AsyncCollection(value)
    if isinstance(value, list) and value and isinstance(value[0], Collection):
        return [AsyncCollection(each) for each in value]
    return value


def _awaitable(method: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    @functools.wraps(method)
    async def call(self: Any, *arguments: Any, **named: Any) -> Any:
        work = functools.partial(method, self._sync, *arguments, **named)
        return _wrapped(await asyncio.to_thread(work))

    return call


class AsyncCollection:
    """A Collection whose methods are awaited."""

    def __init__(self, collection: Collection) -> None:
        self._sync = collection

    id = property(lambda self: self._sync.id, doc="See Collection.id.")
    name = property(lambda self: self._sync.name, doc="See Collection.name.")
    tenant = property(lambda self: self._sync.tenant, doc="See Collection.tenant.")
    database = property(lambda self: self._sync.database, doc="See Collection.database.")
    metadata = property(lambda self: self._sync.metadata, doc="See Collection.metadata.")
    schema = property(lambda self: self._sync.schema, doc="See Collection.schema.")
    configuration = property(
        lambda self: self._sync.configuration, doc="See Collection.configuration."
    )
    configuration_json = property(
        lambda self: self._sync.configuration_json, doc="See Collection.configuration_json."
    )

    def __repr__(self) -> str:
        return f"AsyncCollection(name={self.name})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncCollection) and self._sync == other._sync

    __hash__ = None  # type: ignore[assignment]

    add = _awaitable(Collection.add)
    upsert = _awaitable(Collection.upsert)
    update = _awaitable(Collection.update)
    get = _awaitable(Collection.get)
    peek = _awaitable(Collection.peek)
    query = _awaitable(Collection.query)
    search = _awaitable(Collection.search)
    delete = _awaitable(Collection.delete)
    count = _awaitable(Collection.count)
    modify = _awaitable(Collection.modify)
    fork = _awaitable(Collection.fork)
    fork_count = _awaitable(Collection.fork_count)
    attach_function = _awaitable(Collection.attach_function)
    get_attached_function = _awaitable(Collection.get_attached_function)
    detach_function = _awaitable(Collection.detach_function)
    get_indexing_status = _awaitable(Collection.get_indexing_status)


class AsyncClient:
    """Any client, awaited: `AsyncClient(vkb.PersistentClient("kb"))`.

    Usable in an `async with` statement.
    """

    def __init__(self, client: ClientAPI) -> None:
        self._sync = client

    tenant = property(lambda self: self._sync.tenant, doc="The tenant it is in.")
    database = property(lambda self: self._sync.database, doc="The database it is in.")

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self.close()

    def get_settings(self) -> Any:
        """What the client was opened with."""
        return self._sync.get_settings()

    close = _awaitable(ClientAPI.close)
    heartbeat = _awaitable(ClientAPI.heartbeat)
    get_version = _awaitable(ClientAPI.get_version)
    get_user_identity = _awaitable(ClientAPI.get_user_identity)
    get_max_batch_size = _awaitable(ClientAPI.get_max_batch_size)
    set_tenant = _awaitable(ClientAPI.set_tenant)
    set_database = _awaitable(ClientAPI.set_database)
    reset = _awaitable(ClientAPI.reset)
    list_collections = _awaitable(ClientAPI.list_collections)
    count_collections = _awaitable(ClientAPI.count_collections)
    create_collection = _awaitable(ClientAPI.create_collection)
    get_or_create_collection = _awaitable(ClientAPI.get_or_create_collection)
    get_collection = _awaitable(ClientAPI.get_collection)
    get_collection_by_id = _awaitable(ClientAPI.get_collection_by_id)
    delete_collection = _awaitable(ClientAPI.delete_collection)


async def AsyncHttpClient(
    host: str = "localhost",
    port: int = 8000,
    ssl: bool = False,
    headers: Optional[Dict[str, str]] = None,
    settings: Optional[Any] = None,
    tenant: str = DEFAULT_TENANT,
    database: str = DEFAULT_DATABASE,
) -> AsyncClient:
    """HttpClient() for asyncio."""
    arguments: List[Any] = [host, port, ssl, headers, settings, tenant, database]
    return AsyncClient(await asyncio.to_thread(HttpClient, *arguments))
