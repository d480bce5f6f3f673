# SPDX-License-Identifier: Apache-2.0
"""vkb's engine under the unmodified `chromadb` package (1.5).

    import chromadb

    client = chromadb.Client(
        chromadb.Settings(
            chroma_api_impl="vkb.chroma.EmbeddedAPI",
            is_persistent=True,
            persist_directory="kb",
        )
    )

Everything above is chromadb's own: its collections, embedding functions, data loaders and
exceptions; so what is written on top of it, such as LlamaIndex and LangChain, runs as it is.
Without is_persistent the store is in a temporary directory that goes when the client is closed.
The setting may also come from the environment: CHROMA_API_IMPL=vkb.chroma.EmbeddedAPI.
"""

from __future__ import annotations

import json
from typing import Any, List, Optional, Sequence, Tuple, cast
from uuid import UUID

import numpy as np
from chromadb.api import ServerAPI
from chromadb.api.collection_configuration import (
    create_collection_configuration_to_json,
    update_collection_configuration_to_json,
)
from chromadb.api.models.AttachedFunction import AttachedFunction
from chromadb.api.types import (
    DeleteResult,
    GetResult,
    IncludeMetadataDocuments,
    IncludeMetadataDocumentsDistances,
    IncludeMetadataDocumentsEmbeddings,
    IndexingStatus,
    QueryResult,
    ReadLevel,
    SearchResult,
)
from chromadb.auth import UserIdentity
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, System
from chromadb.types import Collection as CollectionModel
from chromadb.types import Database, Tenant
from overrides import override

from . import api_embedded, server_api
from .server_api import Batch, Place, Selection


class EmbeddedAPI(ServerAPI):
    """A component of chromadb's System that answers with vkb's engine."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._settings = system.settings
        self._store: Optional[api_embedded.EmbeddedAPI] = None

    @property
    def _api(self) -> api_embedded.EmbeddedAPI:
        if self._store is None:
            raise RuntimeError("this client is closed, or was not started; open another one")
        return self._store

    @override
    def start(self) -> None:
        super().start()
        if self._store is not None:
            return
        if self._settings.is_persistent:
            directory = self._settings.require("persist_directory")
            self._store = api_embedded.open_persistent(directory, self._settings)
        else:
            self._store = api_embedded.EmbeddedAPI(None, self._settings)

    @override
    def stop(self) -> None:
        super().stop()
        store, self._store = self._store, None
        if store is not None:
            store.release()

    @override
    def reset_state(self) -> None:
        super().reset_state()
        if self._store is not None:
            self._store.reset()

    # Tenants and databases

    @override
    def create_tenant(self, name: str) -> None:
        self._api.create_tenant(name)

    @override
    def get_tenant(self, name: str) -> Tenant:
        return Tenant(name=self._api.get_tenant(name)["name"])

    @override
    def create_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        self._api.create_database(name, tenant)

    @override
    def get_database(self, name: str, tenant: str = DEFAULT_TENANT) -> Database:
        return Database(**self._api.get_database(name, tenant))

    @override
    def delete_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        self._api.delete_database(name, tenant)

    @override
    def list_databases(
        self,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Sequence[Database]:
        return [Database(**found) for found in self._api.list_databases(limit, offset, tenant)]

    # The store

    @override
    def heartbeat(self) -> int:
        return self._api.heartbeat()

    @override
    def get_version(self) -> str:
        return self._api.get_version()

    @override
    def get_settings(self) -> Settings:
        return self._settings

    @override
    def get_max_batch_size(self) -> int:
        return self._api.get_max_batch_size()

    @override
    def get_user_identity(self) -> UserIdentity:
        return UserIdentity(user_id="", tenant=DEFAULT_TENANT, databases=[DEFAULT_DATABASE])

    @override
    def reset(self) -> bool:
        return self._api.reset()

    # Collections

    @override
    def count_collections(
        self, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> int:
        return self._api.count_collections(tenant, database)

    @override
    def list_collections(
        self,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Sequence[CollectionModel]:
        return [_model(m) for m in self._api.list_collections(limit, offset, tenant, database)]

    @override
    def create_collection(
        self,
        name: str,
        schema: Optional[Any] = None,
        configuration: Optional[Any] = None,
        metadata: Optional[Any] = None,
        get_or_create: bool = False,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> CollectionModel:
        written = (
            create_collection_configuration_to_json(configuration, metadata)
            if configuration
            else None
        )
        indexes = schema.serialize_to_json() if schema else None
        return _model(
            self._api.create_collection(
                name, indexes, written, metadata, get_or_create, tenant, database
            )
        )

    @override
    def get_or_create_collection(
        self,
        name: str,
        schema: Optional[Any] = None,
        configuration: Optional[Any] = None,
        metadata: Optional[Any] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> CollectionModel:
        return self.create_collection(name, schema, configuration, metadata, True, tenant, database)

    @override
    def get_collection(
        self, name: str, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> CollectionModel:
        return _model(self._api.get_collection(name, tenant, database))

    @override
    def get_collection_by_id(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> CollectionModel:
        return _model(self._api.get_collection_by_id(str(collection_id), tenant, database))

    @override
    def delete_collection(
        self, name: str, tenant: str = DEFAULT_TENANT, database: str = DEFAULT_DATABASE
    ) -> None:
        self._api.delete_collection(name, tenant, database)

    @override
    def _modify(
        self,
        id: UUID,
        new_name: Optional[str] = None,
        new_metadata: Optional[Any] = None,
        new_configuration: Optional[Any] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> None:
        written = (
            update_collection_configuration_to_json(new_configuration)
            if new_configuration
            else None
        )
        self._api.modify(_place(tenant, database, id), new_name, new_metadata, written)

    @override
    def _fork(
        self,
        collection_id: UUID,
        new_name: str,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> CollectionModel:
        return _model(self._api.fork(_place(tenant, database, collection_id), new_name))

    @override
    def _fork_count(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> int:
        return self._api.fork_count(_place(tenant, database, collection_id))

    @override
    def _get_indexing_status(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> "IndexingStatus":
        found = self._api.indexing_status(_place(tenant, database, collection_id))
        return IndexingStatus(**vars(found))

    # Records

    @override
    def _add(
        self,
        ids: List[str],
        collection_id: UUID,
        embeddings: Any,
        metadatas: Optional[Any] = None,
        documents: Optional[Any] = None,
        uris: Optional[Any] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        batch = Batch(ids, _arrays(embeddings), metadatas, documents, uris)
        self._api.add(_place(tenant, database, collection_id), batch)
        return True

    @override
    def _update(
        self,
        collection_id: UUID,
        ids: List[str],
        embeddings: Optional[Any] = None,
        metadatas: Optional[Any] = None,
        documents: Optional[Any] = None,
        uris: Optional[Any] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        batch = Batch(ids, _arrays(embeddings), metadatas, documents, uris)
        self._api.update(_place(tenant, database, collection_id), batch)
        return True

    @override
    def _upsert(
        self,
        collection_id: UUID,
        ids: List[str],
        embeddings: Any,
        metadatas: Optional[Any] = None,
        documents: Optional[Any] = None,
        uris: Optional[Any] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        batch = Batch(ids, _arrays(embeddings), metadatas, documents, uris)
        self._api.upsert(_place(tenant, database, collection_id), batch)
        return True

    @override
    def _delete(
        self,
        collection_id: UUID,
        ids: Optional[List[str]] = None,
        where: Optional[Any] = None,
        where_document: Optional[Any] = None,
        limit: Optional[int] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> DeleteResult:
        selection = Selection(ids, where or None, where_document or None)
        found = self._api.delete(_place(tenant, database, collection_id), selection, limit)
        return DeleteResult(deleted=found["deleted"])

    @override
    def _count(
        self,
        collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        read_level: ReadLevel = ReadLevel.INDEX_AND_WAL,
    ) -> int:
        return self._api.count(_place(tenant, database, collection_id), read_level.value)

    @override
    def _peek(
        self,
        collection_id: UUID,
        n: int = 10,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> GetResult:
        return self._get(
            collection_id,
            limit=n,
            include=IncludeMetadataDocumentsEmbeddings,
            tenant=tenant,
            database=database,
        )

    @override
    def _get(
        self,
        collection_id: UUID,
        ids: Optional[List[str]] = None,
        where: Optional[Any] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        where_document: Optional[Any] = None,
        include: Any = IncludeMetadataDocuments,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> GetResult:
        selection = Selection(ids, where or None, where_document or None)
        place = _place(tenant, database, collection_id)
        found = self._api.get(place, selection, limit, offset, include)
        return cast(GetResult, found)

    @override
    def _query(
        self,
        collection_id: UUID,
        query_embeddings: Any,
        ids: Optional[List[str]] = None,
        n_results: int = 10,
        where: Optional[Any] = None,
        where_document: Optional[Any] = None,
        include: Any = IncludeMetadataDocumentsDistances,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> QueryResult:
        selection = Selection(ids, where or None, where_document or None)
        place = _place(tenant, database, collection_id)
        vectors: Any = _arrays(query_embeddings)
        found = self._api.query(place, selection, vectors, n_results, include)
        return cast(QueryResult, found)

    @override
    def _search(
        self,
        collection_id: UUID,
        searches: List[Any],
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
        read_level: ReadLevel = ReadLevel.INDEX_AND_WAL,
    ) -> SearchResult:
        place = _place(tenant, database, collection_id)
        bodies = [json.loads(json.dumps(each.to_dict(), default=_plain)) for each in searches]
        return SearchResult(**self._api.search(place, bodies, read_level.value))

    # Functions that a server runs on records: neither vkb nor a local Chroma has any.

    @override
    def attach_function(
        self,
        function_id: str,
        name: str,
        input_collection_id: UUID,
        output_collection: str,
        params: Optional[Any] = None,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> Tuple[AttachedFunction, bool]:
        raise NotImplementedError(api_embedded.NO_FUNCTIONS)

    @override
    def get_attached_function(
        self,
        name: str,
        input_collection_id: UUID,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> AttachedFunction:
        raise NotImplementedError(api_embedded.NO_FUNCTIONS)

    @override
    def detach_function(
        self,
        name: str,
        input_collection_id: UUID,
        delete_output: bool = False,
        tenant: str = DEFAULT_TENANT,
        database: str = DEFAULT_DATABASE,
    ) -> bool:
        raise NotImplementedError(api_embedded.NO_FUNCTIONS)


def _place(tenant: str, database: str, collection_id: UUID) -> Place:
    return Place(tenant, database, str(collection_id))


def _arrays(embeddings: Optional[Any]) -> Optional[Any]:
    if embeddings is None or isinstance(embeddings, np.ndarray):
        return embeddings
    return [e if isinstance(e, np.ndarray) else np.array(e, dtype=np.float32) for e in embeddings]


def _plain(value: Any) -> Any:
    """Numbers of numpy, which json does not know."""
    return value.tolist()


def _model(found: server_api.CollectionModel) -> CollectionModel:
    return CollectionModel(**vars(found))
