# SPDX-License-Identifier: Apache-2.0
"""A store that is open in this process."""

from __future__ import annotations

import atexit
import json
import os
import threading
import time
import uuid
import weakref
from typing import Any, Callable, Dict, List, MutableMapping, Optional, Tuple, Union

from . import _vkb, errors
from .config import DEFAULT_DATABASE, DEFAULT_TENANT, setting
from .ephemeral import EphemeralDirectory
from .places import explain_place
from .records import refuse_none, refuse_unstorable
from .scalars import MAX_COUNT, checked_name, count, plain_values, to_json
from .server_api import Batch, CollectionModel, Place, Selection, ServerAPI
from .types import (
    AttachedFunction,
    Database,
    DeleteResult,
    GetResult,
    IndexingStatus,
    QueryResult,
    SearchResult,
    Tenant,
    UserIdentity,
)
from .validation import Vectors, readable

# Records in one call. The engine has no limit of its own; this one bounds what a call holds in
# memory, and is larger than any batch that LlamaIndex or LangChain make.
MAX_BATCH_SIZE = 100_000
# Settings that belong to the store, not to a client.
_SHARED = ("allow_reset", "chroma_memory_limit_bytes")
_MAX_BYTES = 2**64 - 1
# As Chroma's client in the process puts it.
NO_FUNCTIONS = (
    "Attached functions are only supported when connecting to a Chroma server via HttpClient. "
    "The engine in the process does not support attached function operations."
)

# Reentrant, because the garbage collector may end a client at any moment.
_lock = threading.RLock()
# Stores in use, by their real path: clients of one directory share one, as in Chroma.
_open: MutableMapping[str, "EmbeddedAPI"] = weakref.WeakValueDictionary()
# The store of all EphemeralClients, as in Chroma; it lives until the last of them is closed.
_ephemeral: Optional["EmbeddedAPI"] = None


def open_persistent(path: Union[str, "os.PathLike[str]"], settings: Optional[Any]) -> "EmbeddedAPI":
    """The store in the directory `path`, made if need be; to be given back with release()."""
    directory = os.path.realpath(os.fspath(path))
    with _lock:
        api = _used(_open.get(directory))
        if api is None:
            api = _open[directory] = EmbeddedAPI(directory, settings)
        return _same_settings(api, settings, directory)


def open_ephemeral(settings: Optional[Any]) -> "EmbeddedAPI":
    """The store in a temporary directory; to be given back with release()."""
    global _ephemeral
    with _lock:
        api = _used(_ephemeral)
        if api is None:
            api = _ephemeral = EmbeddedAPI(None, settings)
        return _same_settings(api, settings, "ephemeral")


def _used(api: Optional["EmbeddedAPI"]) -> Optional["EmbeddedAPI"]:
    """With one more client, unless it is of no use any more."""
    if api is None:
        return None
    api._clients += 1
    return None if api.is_closed or api.is_forked else api


def _same_settings(api: "EmbeddedAPI", settings: Optional[Any], what: str) -> "EmbeddedAPI":
    for name in _SHARED:
        if setting(settings, name) != setting(api.settings, name):
            api.release()
            raise ValueError(
                f"An instance of Chroma already exists for {what} with different settings "
                f"({name}); close that client first"
            )
    return api


def _new_lock() -> None:
    """In a forked child, where a thread that does not exist any more may hold the old one."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_new_lock)


@atexit.register
def _close_ephemeral() -> None:
    if _ephemeral is not None and not _ephemeral.is_forked:
        _ephemeral.close()


class EmbeddedAPI(ServerAPI):
    """The engine on one directory; without one, on a temporary directory that close() removes."""

    def __init__(self, directory: Optional[str], settings: Optional[Any] = None) -> None:
        self.settings = settings
        self._pid = os.getpid()
        self._clients = 1
        self.is_closed = False
        self._temporary: Optional[EphemeralDirectory] = None
        if directory is None:
            self._temporary = EphemeralDirectory()
            directory = self._temporary.store
        self.directory = directory
        try:
            limit = "chroma_memory_limit_bytes"
            self._service = _vkb.Service(
                os.fsencode(self.directory),
                bool(setting(settings, "allow_reset")),
                False,
                count(limit, setting(settings, limit), _MAX_BYTES) or 0,
            )
        except BaseException as error:
            self._remove_temporary()
            if isinstance(error, errors.InternalError):
                explain_place(self.directory, error)
            raise

    @property
    def is_forked(self) -> bool:
        """Whether this process was forked after opening: then nothing here works any more."""
        return os.getpid() != self._pid

    def release(self) -> None:
        with _lock:  # no client can come between the last one and the end
            self._clients -= 1
            if self._clients > 0:
                return
            self.is_closed = True
        self.close()

    def close(self) -> None:
        """Closes the store once the calls that run have ended. Idempotent."""
        self.is_closed = True
        if self.is_forked:
            return
        self._service.close()
        self._remove_temporary()

    def _remove_temporary(self) -> None:
        with _lock:  # several threads may close at once
            temporary, self._temporary = self._temporary, None
        if temporary is not None:
            temporary.remove()

    def heartbeat(self) -> int:
        return time.time_ns()

    def get_version(self) -> str:
        return _vkb.version

    def get_user_identity(self) -> UserIdentity:
        return UserIdentity(user_id="", tenant=DEFAULT_TENANT, databases=[DEFAULT_DATABASE])

    def get_max_batch_size(self) -> int:
        return MAX_BATCH_SIZE

    def reset(self) -> bool:
        self._service.reset()
        return True

    def create_tenant(self, name: str) -> None:
        self._service.create_tenant(checked_name("tenant", name))

    def get_tenant(self, name: str) -> Tenant:
        self._service.check_tenant(checked_name("tenant", name))
        return {"name": name}

    def create_database(self, name: str, tenant: str) -> None:
        self._service.create_database(
            checked_name("tenant", tenant), checked_name("database", name)
        )

    def get_database(self, name: str, tenant: str) -> Database:
        return _database(
            self._service.get_database(
                checked_name("tenant", tenant), checked_name("database", name)
            )
        )

    def delete_database(self, name: str, tenant: str) -> None:
        self._service.delete_database(
            checked_name("tenant", tenant), checked_name("database", name)
        )

    def list_databases(
        self, limit: Optional[int], offset: Optional[int], tenant: str
    ) -> List[Database]:
        found = self._service.list_databases(
            checked_name("tenant", tenant), count("limit", limit), count("offset", offset) or 0
        )
        return [_database(each) for each in found]

    def list_collections(
        self, limit: Optional[int], offset: Optional[int], tenant: str, database: str
    ) -> List[CollectionModel]:
        found = self._service.list_collections(
            tenant, database, count("limit", limit), count("offset", offset) or 0
        )
        return [_model(each) for each in found]

    def count_collections(self, tenant: str, database: str) -> int:
        return self._service.count_collections(tenant, database)

    def create_collection(
        self,
        name: str,
        schema: Optional[Dict[str, Any]],
        configuration: Optional[Dict[str, Any]],
        metadata: Optional[Dict[str, Any]],
        get_or_create: bool,
        tenant: str,
        database: str,
    ) -> CollectionModel:
        for key, value in metadata.items() if isinstance(metadata, dict) else ():
            if value is None:
                raise errors.raisable(errors.InvalidArgumentError)(
                    f"Expected the value under metadata key {key!r} not to be None: a new "
                    "collection has no key to remove"
                )
        return _model(
            self._service.create_collection(
                tenant,
                database,
                checked_name("collection", name),
                plain_values(metadata),
                _json(configuration),
                _json(schema),
                get_or_create,
            )
        )

    def get_collection(self, name: str, tenant: str, database: str) -> CollectionModel:
        return _model(
            self._service.get_collection(tenant, database, checked_name("collection", name))
        )

    def get_collection_by_id(
        self, collection_id: str, tenant: str, database: str
    ) -> CollectionModel:
        return _model(self._service.get_collection_by_id(tenant, database, collection_id))

    def delete_collection(self, name: str, tenant: str, database: str) -> None:
        self._service.delete_collection(tenant, database, checked_name("collection", name))

    def modify(
        self,
        place: Place,
        name: Optional[str],
        metadata: Optional[Dict[str, Any]],
        configuration: Optional[Dict[str, Any]],
    ) -> None:
        if name is not None:
            checked_name("collection", name)
        self._service.modify_collection(
            *_at(place), name, plain_values(metadata), _json(configuration)
        )

    def fork(self, place: Place, new_name: str) -> CollectionModel:
        return _model(
            self._service.fork_collection(*_at(place), checked_name("collection", new_name))
        )

    def fork_count(self, place: Place) -> int:
        self._service.count(*_at(place))  # throws for a collection that does not exist
        return 0  # a fork is a copy: nothing connects the two afterwards

    def indexing_status(self, place: Place) -> IndexingStatus:
        total, indexed = self._service.indexing_status(*_at(place))
        return IndexingStatus(
            num_indexed_ops=indexed,
            num_unindexed_ops=total - indexed,
            total_ops=total,
            op_indexing_progress=indexed / total if total else 1.0,
        )

    def add(self, place: Place, batch: Batch) -> None:
        refuse_none(batch)
        self._write(self._service.add, place, batch)

    def update(self, place: Place, batch: Batch) -> None:
        self._write(self._service.update, place, batch)

    def upsert(self, place: Place, batch: Batch) -> None:
        self._write(self._service.upsert, place, batch)

    def _write(self, write: Callable[..., None], place: Place, batch: Batch) -> None:
        if len(batch.ids) > MAX_BATCH_SIZE:
            raise ValueError(
                f"Batch size {len(batch.ids)} exceeds maximum batch size {MAX_BATCH_SIZE}"
            )
        vectors = readable(batch.embeddings)
        try:
            write(*_at(place), batch.ids, vectors, batch.documents, batch.uris, batch.metadatas)
        except (errors.InvalidArgumentError, UnicodeEncodeError):
            refuse_unstorable(batch)  # says which record it is
            raise

    def delete(self, place: Place, selection: Selection, limit: Optional[int]) -> DeleteResult:
        deleted = self._service.remove(*_at(place), *_which(selection), count("limit", limit))
        return {"deleted": deleted}

    def attach_function(
        self,
        place: Place,
        function: str,
        name: str,
        output_collection: str,
        params: Optional[Dict[str, Any]],
    ) -> Tuple[AttachedFunction, bool]:
        raise NotImplementedError(NO_FUNCTIONS)

    def get_attached_function(self, place: Place, name: str) -> AttachedFunction:
        raise NotImplementedError(NO_FUNCTIONS)

    def detach_function(self, place: Place, name: str, delete_output: bool) -> bool:
        raise NotImplementedError(NO_FUNCTIONS)

    def count(self, place: Place, read_level: str) -> int:
        return self._service.count(*_at(place))

    def get(
        self,
        place: Place,
        selection: Selection,
        limit: Optional[int],
        offset: Optional[int],
        include: List[str],
    ) -> GetResult:
        answer = self._service.get(
            *_at(place),
            *_which(selection),
            count("limit", limit),
            count("offset", offset) or 0,
            include,
        )
        return {**answer, "data": None, "included": include}  # type: ignore[typeddict-item]

    def query(
        self,
        place: Place,
        selection: Selection,
        embeddings: Vectors,
        n_results: int,
        include: List[str],
    ) -> QueryResult:
        answer = self._service.query(
            *_at(place),
            *_which(selection),
            readable(embeddings),
            min(n_results, MAX_COUNT),
            include,
        )
        if "distances" not in include:
            answer["distances"] = None
        return {**answer, "data": None, "included": include}  # type: ignore[typeddict-item]

    def search(self, place: Place, searches: List[Dict[str, Any]], read_level: str) -> SearchResult:
        request = json.dumps({"searches": searches, "read_level": read_level})
        return SearchResult(json.loads(self._service.search(*_at(place), request)))


def _at(place: Place) -> Tuple[str, str, str]:
    return place.tenant, place.database, place.collection


def _which(selection: Selection) -> Tuple[Optional[List[str]], Optional[str], Optional[str]]:
    return selection.ids, _json(selection.where), _json(selection.where_document)


def _json(value: Optional[Any]) -> Optional[str]:
    return None if value is None else to_json(value)


def _database(found: Tuple[str, str, str]) -> Database:
    database_id, name, tenant = found
    return {"id": uuid.UUID(database_id), "name": name, "tenant": tenant}


def _model(found: Dict[str, Any]) -> CollectionModel:
    schema = found.pop("schema_json")
    return CollectionModel(
        id=uuid.UUID(found.pop("id")),
        configuration_json=json.loads(found.pop("configuration_json")),
        serialized_schema=json.loads(schema) if schema else None,
        **found,
    )
