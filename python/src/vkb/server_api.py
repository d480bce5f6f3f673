# SPDX-License-Identifier: Apache-2.0
"""What clients and collections are made of: the operations of a store, wherever it is.

`api_embedded.EmbeddedAPI` is a store in this process, `api_http.HttpAPI` one behind a server.
Arguments are checked and in normal form by the time they arrive here.
"""

from __future__ import annotations

import abc
import uuid
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

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
from .validation import Vectors


@dataclass
class CollectionModel:
    """A collection as the store describes it."""

    id: uuid.UUID
    name: str
    tenant: str
    database: str
    configuration_json: Dict[str, Any]
    serialized_schema: Optional[Dict[str, Any]] = None
    metadata: Optional[Dict[str, Any]] = None
    dimension: Optional[int] = None
    version: int = 0
    log_position: int = 0

    def __getitem__(self, key: str) -> Any:
        return getattr(self, key)


@dataclass(frozen=True)
class Place:
    """Where a collection is."""

    tenant: str
    database: str
    collection: str  # UUID


@dataclass
class Selection:
    """Which records: those that satisfy all that is given."""

    ids: Optional[List[str]] = None
    where: Optional[Dict[str, Any]] = None
    where_document: Optional[Dict[str, Any]] = None


@dataclass
class Batch:
    """The columns of add, update and upsert, of equal length where given."""

    ids: List[str]
    embeddings: Optional[Vectors] = None
    metadatas: Optional[List[Any]] = None
    documents: Optional[List[Optional[str]]] = None
    uris: Optional[List[Optional[str]]] = None


class ServerAPI(abc.ABC):
    """A store. Thread safety: all methods."""

    settings: Any

    @abc.abstractmethod
    def heartbeat(self) -> int: ...

    @abc.abstractmethod
    def get_version(self) -> str: ...

    @abc.abstractmethod
    def get_user_identity(self) -> UserIdentity: ...

    @abc.abstractmethod
    def get_max_batch_size(self) -> int: ...

    @abc.abstractmethod
    def reset(self) -> bool: ...

    @abc.abstractmethod
    def release(self) -> None:
        """One client less uses this; closes with the last."""

    @abc.abstractmethod
    def create_tenant(self, name: str) -> None: ...

    @abc.abstractmethod
    def get_tenant(self, name: str) -> Tenant: ...

    @abc.abstractmethod
    def create_database(self, name: str, tenant: str) -> None: ...

    @abc.abstractmethod
    def get_database(self, name: str, tenant: str) -> Database: ...

    @abc.abstractmethod
    def delete_database(self, name: str, tenant: str) -> None: ...

    @abc.abstractmethod
    def list_databases(
        self, limit: Optional[int], offset: Optional[int], tenant: str
    ) -> List[Database]: ...

    @abc.abstractmethod
    def list_collections(
        self, limit: Optional[int], offset: Optional[int], tenant: str, database: str
    ) -> List[CollectionModel]: ...

    @abc.abstractmethod
    def count_collections(self, tenant: str, database: str) -> int: ...

    @abc.abstractmethod
    def create_collection(
        self,
        name: str,
        schema: Optional[Dict[str, Any]],
        configuration: Optional[Dict[str, Any]],
        metadata: Optional[Dict[str, Any]],
        get_or_create: bool,
        tenant: str,
        database: str,
    ) -> CollectionModel: ...

    @abc.abstractmethod
    def get_collection(self, name: str, tenant: str, database: str) -> CollectionModel: ...

    @abc.abstractmethod
    def get_collection_by_id(
        self, collection_id: str, tenant: str, database: str
    ) -> CollectionModel: ...

    @abc.abstractmethod
    def delete_collection(self, name: str, tenant: str, database: str) -> None: ...

    @abc.abstractmethod
    def modify(
        self,
        place: Place,
        name: Optional[str],
        metadata: Optional[Dict[str, Any]],
        configuration: Optional[Dict[str, Any]],
    ) -> None: ...

    @abc.abstractmethod
    def fork(self, place: Place, new_name: str) -> CollectionModel: ...

    @abc.abstractmethod
    def fork_count(self, place: Place) -> int: ...

    @abc.abstractmethod
    def indexing_status(self, place: Place) -> IndexingStatus: ...

    @abc.abstractmethod
    def attach_function(
        self,
        place: Place,
        function: str,
        name: str,
        output_collection: str,
        params: Optional[Dict[str, Any]],
    ) -> Tuple[AttachedFunction, bool]: ...

    @abc.abstractmethod
    def get_attached_function(self, place: Place, name: str) -> AttachedFunction: ...

    @abc.abstractmethod
    def detach_function(self, place: Place, name: str, delete_output: bool) -> bool: ...

    @abc.abstractmethod
    def add(self, place: Place, batch: Batch) -> None: ...

    @abc.abstractmethod
    def update(self, place: Place, batch: Batch) -> None: ...

    @abc.abstractmethod
    def upsert(self, place: Place, batch: Batch) -> None: ...

    @abc.abstractmethod
    def delete(self, place: Place, selection: Selection, limit: Optional[int]) -> DeleteResult: ...

    @abc.abstractmethod
    def count(self, place: Place, read_level: str) -> int: ...

    @abc.abstractmethod
    def get(
        self,
        place: Place,
        selection: Selection,
        limit: Optional[int],
        offset: Optional[int],
        include: List[str],
    ) -> GetResult: ...

    @abc.abstractmethod
    def query(
        self,
        place: Place,
        selection: Selection,
        embeddings: Vectors,
        n_results: int,
        include: List[str],
    ) -> QueryResult: ...

    @abc.abstractmethod
    def search(
        self, place: Place, searches: List[Dict[str, Any]], read_level: str
    ) -> SearchResult: ...
