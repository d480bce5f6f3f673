# SPDX-License-Identifier: Apache-2.0
"""Collections of records."""

from __future__ import annotations

import uuid
from typing import Any, Dict, List, Optional, Tuple

from . import configuration as config
from . import records, validation
from .embedder import Embedder
from .embedding_functions import DefaultEmbeddingFunction, validate_embedding_function
from .schema import Schema
from .server_api import Batch, CollectionModel, Place, Selection, ServerAPI
from .types import (
    ID,
    URI,
    AttachedFunction,
    CollectionMetadata,
    DataLoader,
    DeleteResult,
    Document,
    Embeddings,
    GetResult,
    IDs,
    Image,
    Include,
    IndexingStatus,
    Metadata,
    OneOrMany,
    QueryResult,
    ReadLevel,
    SearchResult,
    Where,
    WhereDocument,
)
from .validation import named


class Collection:
    """Records, each an id with an embedding and, if given, a document, a metadata dict and a URI.

    Made by create_collection(), get_collection() and get_or_create_collection() of a client. Where
    one record is given instead of several, what is not a list counts as a list of one.

    What a method that writes has stored when it returns survives a crash, and every read that
    begins afterwards sees it.

    Thread safety: all methods, from any number of threads; the engine works without holding
    Python's global lock. From asyncio, use `await asyncio.to_thread(collection.query, …)`, or
    vkb.AsyncClient. In a forked child the collections of its parent's clients refuse to work: close
    the client before the fork, and open one in each process (multiprocessing: "spawn" is safest).
    """

    def __init__(
        self,
        client: ServerAPI,
        model: CollectionModel,
        embedding_function: Optional[Any] = DefaultEmbeddingFunction(),
        data_loader: Optional[DataLoader] = None,
    ) -> None:
        if embedding_function is not None:
            validate_embedding_function(embedding_function)
        self._client = client
        self._model = model
        self._embedder = Embedder(embedding_function, data_loader)

    @property
    def id(self) -> uuid.UUID:
        """Stays the same when the collection is renamed."""
        return self._model.id

    @property
    def name(self) -> str:
        """Unique in its database."""
        return self._model.name

    @property
    def tenant(self) -> str:
        """The tenant of the database."""
        return self._model.tenant

    @property
    def database(self) -> str:
        """The database it is in."""
        return self._model.database

    @property
    def metadata(self) -> Optional[CollectionMetadata]:
        """Of the collection itself, or None."""
        return self._model.metadata

    @property
    def configuration(self) -> config.CollectionConfiguration:
        """`hnsw` with `space` and the parameters of the graph, `spann` (None) and the
        `embedding_function`; ValueError when that cannot be rebuilt."""
        return config.from_json(self._model.configuration_json)

    @property
    def configuration_json(self) -> Dict[str, Any]:
        """The configuration as it is stored."""
        return self._model.configuration_json

    @property
    def schema(self) -> Optional[Schema]:
        """Which fields are indexed."""
        return Schema.deserialize_from_json(self._model.serialized_schema or {})

    def get_model(self) -> CollectionModel:
        """The collection as the store describes it."""
        return self._model

    def __repr__(self) -> str:
        return f"Collection(name={self.name})"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Collection)
            and self._model == other._model
            and self._embedder.function == other._embedder.function
            and self._embedder.data_loader == other._embedder.data_loader
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def _stored_function(self) -> Optional[Dict[str, Any]]:
        return self._model.configuration_json.get("embedding_function")

    @property
    def _place(self) -> Place:
        return Place(self.tenant, self.database, str(self.id))

    def count(self, read_level: ReadLevel = ReadLevel.INDEX_AND_WAL) -> int:
        """How many records there are. Every `read_level` counts all of them."""
        return self._client.count(self._place, ReadLevel(read_level).value)

    def add(
        self,
        ids: OneOrMany[ID],
        embeddings: Optional[Embeddings] = None,
        metadatas: Optional[OneOrMany[Metadata]] = None,
        documents: Optional[OneOrMany[Document]] = None,
        images: Optional[OneOrMany[Image]] = None,
        uris: Optional[OneOrMany[URI]] = None,
    ) -> None:
        """Stores new records; all of them or none. One whose id exists is left as it is.

        Args:
            ids: different strings.
            embeddings: a row of a 2-D array, an array or a list of numbers for each id; float32,
                float64, float16, int32 or int64, in any memory layout. Without them, the embedding
                function makes them of the documents, the images, or what the data loader makes of
                the uris; then exactly one of the three is given.
            metadatas: dicts of str to str, int, float, bool, or lists of one of these.
            documents: texts.
            images: arrays; embedded, not stored.
            uris: where the original is.

        Raises:
            ValueError: columns of different lengths, or values that are not what is said above.
            DuplicateIDError: an id stands twice in `ids`.
            InvalidArgumentError: an embedding is not as long as the others, or not finite.
        """
        with named("add"):
            columns = records.normalize_records(ids, embeddings, metadatas, documents, images, uris)
            batch = self._batch(columns, records.EMBEDDABLE)
        self._client.add(self._place, batch)

    def upsert(
        self,
        ids: OneOrMany[ID],
        embeddings: Optional[Embeddings] = None,
        metadatas: Optional[OneOrMany[Metadata]] = None,
        documents: Optional[OneOrMany[Document]] = None,
        images: Optional[OneOrMany[Image]] = None,
        uris: Optional[OneOrMany[URI]] = None,
    ) -> None:
        """Stores records, or updates those whose id exists (see update()). Arguments as in add().

        The embedding is always replaced; without `embeddings` it is made of documents or images.
        """
        with named("upsert"):
            columns = records.normalize_records(ids, embeddings, metadatas, documents, images, uris)
            batch = self._batch(columns, ("documents", "images"))
        self._client.upsert(self._place, batch)

    def update(
        self,
        ids: OneOrMany[ID],
        embeddings: Optional[Embeddings] = None,
        metadatas: Optional[OneOrMany[Metadata]] = None,
        documents: Optional[OneOrMany[Document]] = None,
        images: Optional[OneOrMany[Image]] = None,
        uris: Optional[OneOrMany[URI]] = None,
    ) -> None:
        """Changes records; ids that do not exist are ignored. Arguments as in add().

        What is not given stays. Metadata is merged key by key, and None removes a key. New
        documents or images without `embeddings` are embedded.
        """
        with named("update"):
            columns = records.normalize_records(ids, embeddings, metadatas, documents, images, uris)
            fields = ("documents", "images")
            needs = any(columns[name] is not None for name in fields)
            batch = self._batch(columns, fields if needs else ())
        self._client.update(self._place, batch)

    def get(
        self,
        ids: Optional[OneOrMany[ID]] = None,
        where: Optional[Where] = None,
        limit: Optional[int] = None,
        offset: Optional[int] = None,
        where_document: Optional[WhereDocument] = None,
        include: Include = ["metadatas", "documents"],
    ) -> GetResult:
        """The records that satisfy all that is given, in the order in which they were added.

        Args:
            ids: only these; unknown ones are skipped.
            where: a condition on metadata: {"field": value}, or {"field": {"$gt": 3}} with $eq $ne
                $gt $gte $lt $lte $in $nin, $contains and $not_contains (for lists); two or more of
                them in {"$and": […]} or {"$or": […]}.
            limit, offset: this many after leaving out that many.
            where_document: {"$contains": text}, $not_contains, $regex, $not_regex, $and, $or.
            include: what comes with the ids: "metadatas", "documents", "embeddings", "uris", and
                "data", which is what the data loader makes of the URIs.
        """
        with named("get"):
            wanted = validation.as_list(ids)
            if wanted is not None:
                validation.validate_ids(wanted)
            validation.validate_filters(where, where_document)
            columns = self._with_uris(validation.validate_include(include, ("distances",)))
            if "data" in columns and self._embedder.data_loader is None:
                raise ValueError(
                    "You must set a data loader on the collection if loading from URIs."
                )
        selection = Selection(wanted, where, where_document)
        result = self._client.get(self._place, selection, limit, offset, columns)
        if (
            "data" in columns
            and self._embedder.data_loader is not None
            and result["uris"] is not None
        ):
            result["data"] = self._embedder.load(result["uris"])
        return result

    def peek(self, limit: int = 10) -> GetResult:
        """The first records, with metadata, document and embedding."""
        columns = ["metadatas", "documents", "embeddings"]
        return self._client.get(self._place, Selection(), limit, None, columns)

    def query(
        self,
        query_embeddings: Optional[Embeddings] = None,
        query_texts: Optional[OneOrMany[Document]] = None,
        query_images: Optional[OneOrMany[Image]] = None,
        query_uris: Optional[OneOrMany[URI]] = None,
        ids: Optional[OneOrMany[ID]] = None,
        n_results: int = 10,
        where: Optional[Where] = None,
        where_document: Optional[WhereDocument] = None,
        include: Include = ["metadatas", "documents", "distances"],
    ) -> QueryResult:
        """The records nearest to each query, nearest first.

        Args:
            query_embeddings: one vector or several, in the forms that add() takes; or instead
            query_texts, query_images, query_uris: what the embedding function makes vectors of.
            ids: only these.
            n_results: how many for each query; fewer when fewer match.
            where, where_document: as in get().
            include: as in get(), and "distances". A distance is 1 - cosine, the squared l2
                distance, or 1 - inner product, as the collection's space says.
        """
        with named("query"):
            columns = records.normalize_columns(
                query_embeddings, query_texts, query_images, query_uris
            )
            records.validate_columns(columns)
            validation.validate_filters(where, where_document)
            wanted = self._with_uris(validation.validate_include(include))
            validation.validate_n_results(n_results)
            vectors = columns["embeddings"]
            if vectors is None:
                vectors = self._embedder.embed_columns(
                    self._stored_function, columns, records.EMBEDDABLE, is_query=True
                )
        selection = Selection(validation.as_list(ids), where, where_document)
        result = self._client.query(self._place, selection, vectors, n_results, wanted)
        if (
            "data" in wanted
            and self._embedder.data_loader is not None
            and result["uris"] is not None
        ):
            result["data"] = [self._embedder.load(uris) for uris in result["uris"]]
        return result

    def search(
        self, searches: OneOrMany[Any], read_level: ReadLevel = ReadLevel.INDEX_AND_WAL
    ) -> SearchResult:
        """Records ranked by an expression: see vkb.Search. Several searches make one call."""
        with named("search"):
            bodies = [
                each.to_dict() if hasattr(each, "to_dict") else dict(each)
                for each in validation.as_list(searches) or ()
            ]
            for body in bodies:
                body["rank"] = self._embedder.embed_rank(self._stored_function, body.get("rank"))
        return self._client.search(self._place, bodies, ReadLevel(read_level).value)

    def delete(
        self,
        ids: Optional[IDs] = None,
        where: Optional[Where] = None,
        where_document: Optional[WhereDocument] = None,
        limit: Optional[int] = None,
    ) -> DeleteResult:
        """Removes the records that satisfy all that is given; something must be.

        `limit`, with a filter only, removes at most so many, in the order of get().
        """
        with named("delete"):
            if ids is None and where is None and where_document is None:
                raise ValueError("At least one of ids, where, or where_document must be provided")
            if limit is not None:
                if not isinstance(limit, int) or isinstance(limit, bool):
                    raise TypeError("limit must be a non-negative integer")
                if limit < 0:
                    raise ValueError("limit must be a non-negative integer")
                if where is None and where_document is None:
                    raise ValueError(
                        "limit can only be specified when a where or where_document clause is "
                        "provided"
                    )
            wanted = validation.as_list(ids)
            if wanted is not None:
                validation.validate_ids(wanted)
            validation.validate_filters(where, where_document)
        selection = Selection(wanted, where, where_document)
        return self._client.delete(self._place, selection, limit)

    def modify(
        self,
        name: Optional[str] = None,
        metadata: Optional[CollectionMetadata] = None,
        configuration: Optional[config.UpdateCollectionConfiguration] = None,
    ) -> None:
        """Renames the collection, replaces its metadata (as a whole), or changes of its
        configuration what can be changed, `{"hnsw": {"ef_search": 300}}`."""
        if metadata is not None:
            validation.validate_metadata(metadata)
            if "hnsw:space" in metadata:
                raise ValueError(
                    "Changing the distance function of a collection once it is created is not "
                    "supported currently."
                )
        if configuration:
            config.check_update(self._model.configuration_json, configuration)
        self._client.modify(self._place, name, metadata, config.update_to_json(configuration))
        self._model = self._client.get_collection_by_id(str(self.id), self.tenant, self.database)

    def fork(self, new_name: str) -> "Collection":
        """A copy under another name, which changes independently."""
        model = self._client.fork(self._place, new_name)
        return Collection(self._client, model, self._embedder.function, self._embedder.data_loader)

    def fork_count(self) -> int:
        """How many forks share records with this collection: none, a fork is a copy."""
        return self._client.fork_count(self._place)

    def attach_function(
        self,
        function: Any,
        name: str,
        output_collection: str,
        params: Optional[Dict[str, Any]] = None,
    ) -> Tuple[AttachedFunction, bool]:
        """Has a server run one of its functions on the records. Chroma's cloud has some; vkb, as a
        Chroma of one's own, refuses: NotImplementedError in the process, ChromaError over HTTP."""
        return self._client.attach_function(
            self._place, getattr(function, "value", function), name, output_collection, params
        )

    def get_attached_function(self, name: str) -> AttachedFunction:
        """What attach_function() has attached; refused likewise."""
        return self._client.get_attached_function(self._place, name)

    def detach_function(self, name: str, delete_output_collection: bool = False) -> bool:
        """Ends what attach_function() has begun; refused likewise."""
        return self._client.detach_function(self._place, name, delete_output_collection)

    def get_indexing_status(self) -> IndexingStatus:
        """How many of the records are in the graph; the others are searched one by one."""
        return self._client.indexing_status(self._place)

    def _with_uris(self, include: List[str]) -> List[str]:
        return [*include, "uris"] if "data" in include and "uris" not in include else include

    def _batch(self, columns: Dict[str, Any], fields: Tuple[str, ...]) -> Batch:
        vectors = columns["embeddings"]
        if vectors is None and fields:
            vectors = self._embedder.embed_columns(self._stored_function, columns, fields)
        return Batch(
            ids=columns["ids"],
            embeddings=vectors,
            metadatas=columns["metadatas"],
            documents=columns["documents"],
            uris=columns["uris"],
        )
