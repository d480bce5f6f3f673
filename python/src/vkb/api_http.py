# SPDX-License-Identifier: Apache-2.0
"""A store behind a server that speaks Chroma's REST API: `vkb serve`, or Chroma itself."""

from __future__ import annotations

import base64
import urllib.parse
import uuid
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from . import _vkb, errors
from .http_connections import Connections
from .records import are_finite, refuse_none, refuse_unstorable
from .scalars import MAX_COUNT, checked_name, count, page
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
from .validation import Vectors, is_sparse


def server_url(host: str, port: Optional[int], ssl: bool) -> str:
    """Where the API is. `host` is a name, or a whole address, whose port and path then count."""
    if "/" in host and not host.startswith(("http://", "https://")):
        raise ValueError(
            f"Invalid URL. Unrecognized protocol or path in host {host!r}; expected a host name, "
            "or an address that begins with http:// or https://"
        )
    if host.startswith(("http://", "https://")):
        parts = urllib.parse.urlsplit(host)
        scheme = "https" if ssl else parts.scheme
        path = parts.path.rstrip("/")
        path = path if path.endswith("/api/v2") else path + "/api/v2"
        return f"{scheme}://{parts.netloc}{path}"
    name = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'https' if ssl else 'http'}://{name}:{port}/api/v2"


class HttpAPI(ServerAPI):
    """The operations as HTTP requests."""

    def __init__(
        self,
        url: str,
        headers: Optional[Dict[str, str]] = None,
        settings: Optional[Any] = None,
        verify: Any = None,
        timeout: Optional[float] = None,
    ) -> None:
        self.settings = settings
        self.url = url
        own = {"Content-Type": "application/json", "User-Agent": f"vkb-python/{_vkb.version}"}
        self._connections = Connections(url, {**(headers or {}), **own}, verify, timeout)
        self._limits: Optional[Dict[str, Any]] = None

    def release(self) -> None:
        self._connections.close()

    def heartbeat(self) -> int:
        return int(self._send("GET", "/heartbeat")["nanosecond heartbeat"])

    def get_version(self) -> str:
        return str(self._send("GET", "/version"))

    def get_user_identity(self) -> UserIdentity:
        found = self._send("GET", "/auth/identity")
        return UserIdentity(found.get("user_id", ""), found.get("tenant"), found.get("databases"))

    def get_max_batch_size(self) -> int:
        return int(self._preflight().get("max_batch_size", -1))

    def _preflight(self) -> Dict[str, Any]:
        if self._limits is None:
            self._limits = self._send("GET", "/pre-flight-checks")
        return self._limits

    def reset(self) -> bool:
        return bool(self._send("POST", "/reset"))

    def create_tenant(self, name: str) -> None:
        self._send("POST", "/tenants", {"name": checked_name("tenant", name)})

    def get_tenant(self, name: str) -> Tenant:
        return {"name": self._send("GET", f"/tenants/{_quoted(name)}")["name"]}

    def create_database(self, name: str, tenant: str) -> None:
        self._send(
            "POST",
            f"/tenants/{_quoted(tenant)}/databases",
            {"name": checked_name("database", name)},
        )

    def get_database(self, name: str, tenant: str) -> Database:
        return _database(self._send("GET", _databases(tenant, name)))

    def delete_database(self, name: str, tenant: str) -> None:
        self._send("DELETE", _databases(tenant, name))

    def list_databases(
        self, limit: Optional[int], offset: Optional[int], tenant: str
    ) -> List[Database]:
        path = f"/tenants/{_quoted(tenant)}/databases"
        found = self._send("GET", path, parameters=page(limit, offset))
        return [_database(each) for each in found]

    def list_collections(
        self, limit: Optional[int], offset: Optional[int], tenant: str, database: str
    ) -> List[CollectionModel]:
        path = _databases(tenant, database) + "/collections"
        found = self._send("GET", path, parameters=page(limit, offset))
        return [_model(each) for each in found]

    def count_collections(self, tenant: str, database: str) -> int:
        return int(self._send("GET", _databases(tenant, database) + "/collections_count"))

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
        body = {
            "name": checked_name("collection", name),
            "metadata": metadata,
            "configuration": configuration,
            "schema": schema,
            "get_or_create": get_or_create,
        }
        return _model(self._send("POST", _databases(tenant, database) + "/collections", body))

    def get_collection(self, name: str, tenant: str, database: str) -> CollectionModel:
        path = f"{_databases(tenant, database)}/collections/{_quoted(name)}"
        return _model(self._send("GET", path))

    def get_collection_by_id(
        self, collection_id: str, tenant: str, database: str
    ) -> CollectionModel:
        path = f"{_databases(tenant, database)}/collections/by-id/{_quoted(collection_id)}"
        return _model(self._send("GET", path))

    def delete_collection(self, name: str, tenant: str, database: str) -> None:
        self._send("DELETE", f"{_databases(tenant, database)}/collections/{_quoted(name)}")

    def modify(
        self,
        place: Place,
        name: Optional[str],
        metadata: Optional[Dict[str, Any]],
        configuration: Optional[Dict[str, Any]],
    ) -> None:
        if name is not None:
            checked_name("collection", name)
        body = {"new_name": name, "new_metadata": metadata, "new_configuration": configuration}
        self._send("PUT", _at(place), body)

    def fork(self, place: Place, new_name: str) -> CollectionModel:
        return _model(
            self._send(
                "POST", _at(place) + "/fork", {"new_name": checked_name("collection", new_name)}
            )
        )

    def fork_count(self, place: Place) -> int:
        return int(self._send("GET", _at(place) + "/fork_count")["count"])

    def indexing_status(self, place: Place) -> IndexingStatus:
        found = self._send("GET", _at(place) + "/indexing_status")
        return IndexingStatus(
            num_indexed_ops=found["num_indexed_ops"],
            num_unindexed_ops=found["num_unindexed_ops"],
            total_ops=found["total_ops"],
            op_indexing_progress=found["op_indexing_progress"],
        )

    def attach_function(
        self,
        place: Place,
        function: str,
        name: str,
        output_collection: str,
        params: Optional[Dict[str, Any]],
    ) -> Tuple[AttachedFunction, bool]:
        body = {
            "name": name,
            "function_id": function,
            "output_collection": output_collection,
            "params": params,
        }
        found = self._send("POST", _at(place) + "/functions/attach", body)
        given = {"output_collection": output_collection, "params": params}
        made = _function(place, {**found["attached_function"], **given})
        return made, bool(found.get("created", True))

    def get_attached_function(self, place: Place, name: str) -> AttachedFunction:
        found = self._send("GET", f"{_at(place)}/functions/{_quoted(name)}")
        return _function(place, found["attached_function"])

    def detach_function(self, place: Place, name: str, delete_output: bool) -> bool:
        path = f"{_at(place)}/attached_functions/{_quoted(name)}/detach"
        return bool(self._send("POST", path, {"delete_output": delete_output})["success"])

    def add(self, place: Place, batch: Batch) -> None:
        refuse_none(batch)
        self._write(place, "add", batch)

    def update(self, place: Place, batch: Batch) -> None:
        self._write(place, "update", batch)

    def upsert(self, place: Place, batch: Batch) -> None:
        self._write(place, "upsert", batch)

    def _write(self, place: Place, operation: str, batch: Batch) -> None:
        if batch.embeddings is not None and not are_finite(batch.embeddings):
            refuse_unstorable(batch)
        limits = self._preflight()
        most = int(limits.get("max_batch_size", -1))
        if len(batch.ids) > most:
            raise ValueError(f"Batch size {len(batch.ids)} exceeds maximum batch size {most}")
        embeddings: Any = None
        if batch.embeddings is not None:
            packed = bool(limits.get("supports_base64_encoding", False))
            embeddings = [_base64(e) if packed else e.tolist() for e in batch.embeddings]
        body = {
            "ids": batch.ids,
            "embeddings": embeddings,
            "metadatas": _portable(batch.metadatas),
            "documents": batch.documents,
            "uris": batch.uris,
        }
        try:
            self._send("POST", f"{_at(place)}/{operation}", body)
        except (errors.InvalidArgumentError, UnicodeEncodeError):
            refuse_unstorable(batch)  # says which record it is
            raise

    def delete(self, place: Place, selection: Selection, limit: Optional[int]) -> DeleteResult:
        body = _which(selection)
        if limit is not None:
            body["limit"] = count("limit", limit)
        found = self._send("POST", _at(place) + "/delete", body)
        return {"deleted": (found or {}).get("deleted", 0)}

    def count(self, place: Place, read_level: str) -> int:
        return int(self._send("GET", _at(place) + "/count", parameters={"read_level": read_level}))

    def get(
        self,
        place: Place,
        selection: Selection,
        limit: Optional[int],
        offset: Optional[int],
        include: List[str],
    ) -> GetResult:
        body = {
            **_which(selection),
            **page(limit, offset),
            "include": [name for name in include if name != "data"],
        }
        found = self._send("POST", _at(place) + "/get", body)
        return {
            "ids": found["ids"],
            "embeddings": _array(found.get("embeddings")),
            "documents": found.get("documents"),
            "uris": found.get("uris"),
            "data": None,
            "metadatas": found.get("metadatas"),
            "included": include,  # type: ignore[typeddict-item]
        }

    def query(
        self,
        place: Place,
        selection: Selection,
        embeddings: Vectors,
        n_results: int,
        include: List[str],
    ) -> QueryResult:
        if not are_finite(embeddings):
            raise errors.raisable(errors.InvalidArgumentError)(
                "the query embeddings: expected finite numbers of 32 bits, found NaN or infinity"
            )
        body = {
            **_which(selection),
            "query_embeddings": [embedding.tolist() for embedding in embeddings],
            "n_results": min(int(n_results), MAX_COUNT),
            "include": [name for name in include if name != "data"],
        }
        found = self._send("POST", _at(place) + "/query", body)
        vectors = found.get("embeddings")
        return {
            "ids": found["ids"],
            "embeddings": None if vectors is None else [_array(each) for each in vectors],
            "documents": found.get("documents"),
            "uris": found.get("uris"),
            "data": None,
            "metadatas": found.get("metadatas"),
            "distances": found.get("distances"),
            "included": include,  # type: ignore[typeddict-item]
        }

    def search(self, place: Place, searches: List[Dict[str, Any]], read_level: str) -> SearchResult:
        body = {"searches": searches, "read_level": read_level}
        return SearchResult(self._send("POST", _at(place) + "/search", body))

    def _send(
        self,
        method: str,
        path: str,
        body: Optional[Any] = None,
        parameters: Optional[Dict[str, Any]] = None,
    ) -> Any:
        return self._connections.request(method, path, body, parameters)


def _quoted(name: str) -> str:
    return urllib.parse.quote(checked_name("collection, database or tenant", name), safe="")


def _databases(tenant: str, database: str) -> str:
    return f"/tenants/{_quoted(tenant)}/databases/{_quoted(database)}"


def _at(place: Place) -> str:
    return f"{_databases(place.tenant, place.database)}/collections/{place.collection}"


def _which(selection: Selection) -> Dict[str, Any]:
    return {
        "ids": selection.ids,
        "where": selection.where,
        "where_document": selection.where_document,
    }


def _base64(embedding: Any) -> str:
    return base64.b64encode(np.asarray(embedding, dtype="<f4").tobytes()).decode()


def _portable(metadatas: Optional[List[Any]]) -> Optional[List[Any]]:
    """Sparse vectors as JSON; everything else is."""
    if metadatas is None:
        return None

    def plain(metadata: Any) -> Any:
        if metadata is None or not any(is_sparse(value) for value in metadata.values()):
            return metadata
        return {k: v.to_dict() if is_sparse(v) else v for k, v in metadata.items()}

    return [plain(metadata) for metadata in metadatas]


def _array(rows: Optional[List[List[float]]]) -> Any:
    return None if rows is None else np.array(rows, dtype=np.float32)


def _database(found: Dict[str, Any]) -> Database:
    return {"id": found["id"], "name": found["name"], "tenant": found["tenant"]}


def _function(place: Place, found: Dict[str, Any]) -> AttachedFunction:
    return AttachedFunction(
        id=uuid.UUID(found["id"]),
        name=found["name"],
        function_name=found["function_name"],
        input_collection_id=uuid.UUID(place.collection),
        output_collection=found["output_collection"],
        params=found.get("params"),
    )


def _model(found: Dict[str, Any]) -> CollectionModel:
    return CollectionModel(
        id=uuid.UUID(found["id"]),
        name=found["name"],
        tenant=found["tenant"],
        database=found["database"],
        configuration_json=found.get("configuration_json") or {},
        serialized_schema=found.get("schema"),
        metadata=found.get("metadata"),
        dimension=found.get("dimension"),
        version=found.get("version", 0),
        log_position=found.get("log_position", 0),
    )
