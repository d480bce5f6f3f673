# SPDX-License-Identifier: Apache-2.0
"""Clients: what opens collections."""

from __future__ import annotations

import uuid
import weakref
from types import TracebackType
from typing import Any, Callable, Optional, Sequence, Type, Union

from . import configuration as config
from . import errors
from .collection import Collection
from .config import DEFAULT_DATABASE, DEFAULT_TENANT
from .embedding_functions import DefaultEmbeddingFunction, from_environment
from .http_connections import why_no_answer
from .server_api import CollectionModel, ServerAPI
from .types import CollectionMetadata, Database, DataLoader, Tenant, UserIdentity

_DEFAULT_FUNCTION = DefaultEmbeddingFunction()


def _unreachable(api: ServerAPI, error: OSError) -> ValueError:
    why = why_no_answer(getattr(api, "url", "the store"), error)
    return ValueError(f"Could not connect to a Chroma server. Are you sure it is running? ({why})")


class _Handle:
    """A use of a store, which ends with close() or the `with` block."""

    def __init__(self, api: ServerAPI) -> None:
        self._server = api
        self._closed = False
        self._release: Callable[[], Any] = api.release

    def close(self) -> None:
        """Gives the store back. It closes with its last client; collections stop working then."""
        if not self._closed:
            self._closed = True
            self._release()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def get_settings(self) -> Any:
        """What the client was opened with."""
        return self._server.settings


class AdminAPI(_Handle):
    """Makes and removes tenants and databases; see AdminClient()."""

    def __init__(self, api: ServerAPI) -> None:
        super().__init__(api)
        # No collection depends on it, so the store need not wait for a close() that Chroma's own
        # admin client does not have.
        self._release = weakref.finalize(self, api.release)

    def create_tenant(self, name: str) -> None:
        """A new tenant: an owner of databases."""
        self._server.create_tenant(name)

    def get_tenant(self, name: str) -> Tenant:
        """NotFoundError when there is none."""
        return self._server.get_tenant(name)

    def create_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """A new database: a name space of collections."""
        self._server.create_database(name, tenant)

    def get_database(self, name: str, tenant: str = DEFAULT_TENANT) -> Database:
        """NotFoundError when there is none."""
        return self._server.get_database(name, tenant)

    def delete_database(self, name: str, tenant: str = DEFAULT_TENANT) -> None:
        """Removes it with all its collections."""
        self._server.delete_database(name, tenant)

    def list_databases(
        self,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        tenant: str = DEFAULT_TENANT,
    ) -> Sequence[Database]:
        """All databases of a tenant, by name."""
        return self._server.list_databases(limit, offset, tenant)


class ClientAPI(_Handle):
    """Opens, makes and removes the collections of one database.

    Made by PersistentClient(), EphemeralClient() and HttpClient(). Usable in a `with` statement.
    Thread safety: all methods but set_tenant() and set_database().
    """

    tenant: str
    database: str

    def __init__(self, api: ServerAPI, tenant: Optional[str], database: Optional[str]) -> None:
        super().__init__(api)
        try:
            identity = self.get_user_identity()
            overwrite = getattr(
                api.settings, "chroma_overwrite_singleton_tenant_database_access_from_auth", False
            )
            allowed = identity.databases or []
            if (tenant is None or overwrite) and identity.tenant not in (None, "*"):
                tenant = identity.tenant
            if (database is None or overwrite) and len(allowed) == 1 and allowed[0] != "*":
                database = allowed[0]
            if tenant is None or database is None:
                raise errors.raisable(errors.ChromaAuthError)(
                    "Could not determine a tenant and a database from the current authentication "
                    "method. Please provide them."
                )
            self._check(tenant, database)
        except BaseException:
            self.close()
            raise

    def _check(self, tenant: str, database: str) -> None:
        try:
            self._server.get_tenant(tenant)
            self._server.get_database(database, tenant)
        except OSError as error:
            raise _unreachable(self._server, error) from error
        self.tenant, self.database = tenant, database

    def heartbeat(self) -> int:
        """The store's time, in nanoseconds since 1970: proof that it answers."""
        return self._server.heartbeat()

    def get_version(self) -> str:
        """The version of the engine, or of the server's API."""
        return self._server.get_version()

    def get_user_identity(self) -> UserIdentity:
        """Who the server takes this client for."""
        try:
            return self._server.get_user_identity()
        except OSError as error:
            raise _unreachable(self._server, error) from error

    def get_max_batch_size(self) -> int:
        """How many records one call of add, update or upsert takes."""
        return self._server.get_max_batch_size()

    def set_tenant(self, tenant: str, database: str = DEFAULT_DATABASE) -> None:
        """Goes to another tenant; NotFoundError when it, or the database, does not exist."""
        self._check(tenant, database)

    def set_database(self, database: str) -> None:
        """Goes to another database of the tenant; NotFoundError when it does not exist."""
        self._check(self.tenant, database)

    def reset(self) -> bool:
        """Removes everything in the store. Refused unless opened with allow_reset=True."""
        return self._server.reset()

    def list_collections(
        self, limit: Optional[int] = None, offset: Optional[int] = None
    ) -> Sequence[Collection]:
        """The collections of the database, or `limit` of them after `offset`."""
        models = self._server.list_collections(limit, offset, self.tenant, self.database)
        return [Collection(self._server, model) for model in models]

    def count_collections(self) -> int:
        """How many collections the database has."""
        return self._server.count_collections(self.tenant, self.database)

    def create_collection(
        self,
        name: str,
        schema: Optional[Any] = None,
        configuration: Optional[config.CreateCollectionConfiguration] = None,
        metadata: Optional[CollectionMetadata] = None,
        embedding_function: Optional[Any] = _DEFAULT_FUNCTION,
        data_loader: Optional[DataLoader] = None,
        get_or_create: bool = False,
    ) -> Collection:
        """A new collection.

        Args:
            name: 3 to 512 of [a-zA-Z0-9._-], beginning and ending with a letter or digit.
            schema: which fields are indexed; see vkb.Schema.
            configuration: {"hnsw": {"space": "cosine"}} and other parameters of the graph, which
                cannot be changed later, and "embedding_function". The space is l2 unless the
                embedding function prefers another.
            metadata: of the collection itself.
            embedding_function: what makes vectors of texts and images; see
                vkb.embedding_functions. None when all embeddings will be given.
            data_loader: what makes of URIs something to embed.
            get_or_create: whether a collection of that name may exist; it stays as it is then.

        Raises:
            UniqueConstraintError: the name is taken.
            InvalidArgumentError: the name, the metadata or the configuration is not allowed.
        """
        model = self._create(
            name, schema, configuration, metadata, embedding_function, get_or_create
        )
        return Collection(self._server, model, embedding_function, data_loader)

    def get_or_create_collection(
        self,
        name: str,
        schema: Optional[Any] = None,
        configuration: Optional[config.CreateCollectionConfiguration] = None,
        metadata: Optional[CollectionMetadata] = None,
        embedding_function: Optional[Any] = _DEFAULT_FUNCTION,
        data_loader: Optional[DataLoader] = None,
    ) -> Collection:
        """The collection of that name; a new one when there is none. Arguments as in
        create_collection(). ValueError when it has another embedding function."""
        model = self._create(name, schema, configuration, metadata, embedding_function, True)
        return self._opened(model, embedding_function, data_loader)

    def get_collection(
        self,
        name: str,
        embedding_function: Optional[Any] = _DEFAULT_FUNCTION,
        data_loader: Optional[DataLoader] = None,
    ) -> Collection:
        """The collection of that name.

        The embedding function that is stored with the collection is rebuilt when it is needed and
        none is given.

        Raises:
            NotFoundError: there is none.
            ValueError: it was made with another embedding function.
        """
        model = self._server.get_collection(name, self.tenant, self.database)
        return self._opened(model, embedding_function, data_loader)

    def get_collection_by_id(
        self,
        id: Union[uuid.UUID, str],
        embedding_function: Optional[Any] = _DEFAULT_FUNCTION,
        data_loader: Optional[DataLoader] = None,
    ) -> Collection:
        """As get_collection(), by UUID."""
        model = self._server.get_collection_by_id(str(id), self.tenant, self.database)
        return self._opened(model, embedding_function, data_loader)

    def delete_collection(self, name: str) -> None:
        """Removes a collection with its records; NotFoundError when there is none."""
        self._server.delete_collection(name, self.tenant, self.database)

    def _create(
        self,
        name: str,
        schema: Optional[Any],
        configuration: Optional[Any],
        metadata: Optional[CollectionMetadata],
        function: Optional[Any],
        get_or_create: bool,
    ) -> CollectionModel:
        configuration = dict(configuration or {})
        configured = configuration.get("embedding_function")
        config.check_conflict_on_create(function, configured)
        if function is not None and configured is None:
            if isinstance(function, DefaultEmbeddingFunction):
                function = from_environment() or function
            configuration["embedding_function"] = function
        if schema is not None and hasattr(schema, "serialize_to_json"):
            schema = schema.serialize_to_json()
        return self._server.create_collection(
            name,
            schema,
            config.create_to_json(configuration, metadata),
            metadata,
            get_or_create,
            self.tenant,
            self.database,
        )

    def _opened(
        self, model: CollectionModel, function: Optional[Any], data_loader: Optional[DataLoader]
    ) -> Collection:
        stored = model.configuration_json.get("embedding_function")
        config.check_conflict_on_get(function, stored)
        return Collection(self._server, model, function, data_loader)
