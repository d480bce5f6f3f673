# SPDX-License-Identifier: Apache-2.0
"""Types of arguments and results, under the names that Chroma gives them."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import Enum
from typing import (
    Any,
    Dict,
    List,
    Literal,
    Mapping,
    Optional,
    Protocol,
    Sequence,
    TypedDict,
    TypeVar,
    Union,
)

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
OneOrMany = Union[T, List[T]]

ID = str
IDs = List[ID]
URI = str
URIs = List[URI]
Document = str
Documents = List[Document]
Image = NDArray[Any]
Images = List[Image]
Embedding = NDArray[Any]
PyEmbedding = Union[Sequence[float], Sequence[int]]
# What is taken wherever embeddings are given: rows of a 2-D array, arrays, or lists of numbers.
Embeddings = Union[NDArray[Any], List[Embedding], List[PyEmbedding]]
Embeddable = Union[Documents, Images]
Loadable = List[Optional[Image]]

MetadataValue = Union[str, int, float, bool, List[str], List[int], List[float], List[bool], None]
Metadata = Mapping[str, MetadataValue]
UpdateMetadata = Mapping[str, MetadataValue]
Metadatas = List[Optional[Metadata]]
CollectionMetadata = Dict[str, Any]
UpdateCollectionMetadata = UpdateMetadata

LiteralValue = Union[str, int, float, bool]
# {"field": value}, {"field": {"$eq" … "$not_contains": value}}, {"$and": […]} or {"$or": […]}
Where = Dict[str, Any]
# {"$contains" | "$not_contains" | "$regex" | "$not_regex": text}, {"$and": […]} or {"$or": […]}
WhereDocument = Dict[str, Any]

Space = Literal["cosine", "l2", "ip"]
Include = List[Literal["documents", "embeddings", "metadatas", "distances", "uris", "data"]]


class GetResult(TypedDict):
    """What `Collection.get` and `peek` answer: columns of equal length, in insertion order.

    A column that was not asked for is None. `embeddings` is a 2-D float32 array.
    """

    ids: List[ID]
    embeddings: Optional[NDArray[np.float32]]
    documents: Optional[List[Optional[Document]]]
    uris: Optional[List[Optional[URI]]]
    data: Optional[Any]
    metadatas: Optional[List[Optional[Metadata]]]
    included: Include


class QueryResult(TypedDict):
    """What `Collection.query` answers: for each query one list, nearest first.

    A column that was not asked for is None. `embeddings` has one 2-D float32 array a query.
    """

    ids: List[IDs]
    embeddings: Optional[List[NDArray[np.float32]]]
    documents: Optional[List[List[Optional[Document]]]]
    uris: Optional[List[List[Optional[URI]]]]
    data: Optional[List[Any]]
    metadatas: Optional[List[List[Optional[Metadata]]]]
    distances: Optional[List[List[float]]]
    included: Include


class DeleteResult(TypedDict):
    """What `Collection.delete` answers. With ids alone, `deleted` is how many ids were given."""

    deleted: int


class SearchResultRow(TypedDict, total=False):
    """One record of a search: `id`, and what was selected."""

    id: str
    document: Optional[str]
    embedding: Optional[List[float]]
    metadata: Optional[Dict[str, Any]]
    score: Optional[float]


class SearchResult(Dict[str, Any]):
    """What `Collection.search` answers: `ids`, `documents`, `embeddings`, `metadatas`, `scores` and
    `select`, each with one entry a search; an entry is None when that search did not select it.
    """

    def rows(self) -> List[List[SearchResultRow]]:
        """The same by record: for each search a list of dicts with `id` and what is there of
        `document`, `embedding`, `metadata` and `score`."""
        columns = {
            "document": "documents",
            "embedding": "embeddings",
            "metadata": "metadatas",
            "score": "scores",
        }
        result: List[List[SearchResultRow]] = []
        for search, ids in enumerate(self.get("ids") or []):
            rows: List[Dict[str, Any]] = [{"id": record_id} for record_id in ids]
            for name, column in columns.items():
                values = (self.get(column) or {search: None})[search]
                for row, value in zip(rows, values if values is not None else ()):
                    if value is not None:
                        row[name] = value
            result.append(rows)  # type: ignore[arg-type]
        return result


@dataclass
class IndexingStatus:
    """How much of what was written is in the graph; searches see the rest all the same."""

    num_indexed_ops: int
    num_unindexed_ops: int
    total_ops: int
    op_indexing_progress: float


class ReadLevel(str, Enum):
    """Accepted for Chroma's sake: a read here sees every write that returned before it."""

    INDEX_AND_WAL = "index_and_wal"
    INDEX_ONLY = "index_only"
    INDEX_AND_BOUNDED_WAL = "index_and_bounded_wal"


class Tenant(TypedDict):
    """A tenant: databases of one owner."""

    name: str


class Database(TypedDict):
    """A database: collections under one name. `id` is a UUID."""

    id: Any
    name: str
    tenant: str


@dataclass
class UserIdentity:
    """Who the server takes the client for."""

    user_id: str
    tenant: Optional[str] = None
    databases: Optional[List[str]] = None
    attributes: Optional[Dict[str, Any]] = None


@dataclass
class AttachedFunction:
    """A function that a server runs on the records of a collection; Chroma's cloud has some."""

    id: uuid.UUID
    name: str
    function_name: str
    input_collection_id: uuid.UUID
    output_collection: str
    params: Optional[Dict[str, Any]] = None


class DataLoader(Protocol):
    """Makes from URIs what an embedding function takes: pictures, sound, video."""

    def __call__(self, uris: Sequence[Optional[URI]]) -> Any: ...


@dataclass
class SparseVector:
    """A vector by its entries that are not zero. Neither vkb nor a local Chroma stores them; here
    so that code that names the type runs, and is refused when it stores one."""

    indices: List[int]
    values: List[float]
    labels: Optional[List[str]] = None

    def __post_init__(self) -> None:
        if not isinstance(self.indices, list) or not isinstance(self.values, list):
            raise ValueError("Expected SparseVector indices and values to be lists")
        if len(self.indices) != len(self.values):
            raise ValueError(
                "SparseVector indices and values must have the same length, "
                f"got {len(self.indices)} indices and {len(self.values)} values"
            )
        if any(not isinstance(i, int) or i < 0 for i in self.indices):
            raise ValueError("SparseVector indices must be non-negative integers")
        if any(a >= b for a, b in zip(self.indices, self.indices[1:])):
            raise ValueError("SparseVector indices must be sorted in strictly ascending order")

    def to_dict(self) -> Dict[str, Any]:
        """The form in which it travels."""
        result: Dict[str, Any] = {
            "#type": "sparse_vector",
            "indices": self.indices,
            "values": self.values,
        }
        if self.labels is not None:
            result["tokens"] = self.labels
        return result

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "SparseVector":
        """The reverse of to_dict()."""
        if value.get("#type") != "sparse_vector":
            raise ValueError(f"Expected #type='sparse_vector', got {value.get('#type')}")
        return cls(list(value["indices"]), list(value["values"]), value.get("tokens"))


SparseVectors = List[SparseVector]

__all__ = [
    "AttachedFunction",
    "CollectionMetadata",
    "DataLoader",
    "Database",
    "DeleteResult",
    "Document",
    "Documents",
    "Embeddable",
    "Embedding",
    "Embeddings",
    "GetResult",
    "ID",
    "IDs",
    "Image",
    "Images",
    "Include",
    "IndexingStatus",
    "LiteralValue",
    "Loadable",
    "Metadata",
    "Metadatas",
    "OneOrMany",
    "PyEmbedding",
    "QueryResult",
    "ReadLevel",
    "SearchResult",
    "SearchResultRow",
    "Space",
    "SparseVector",
    "SparseVectors",
    "Tenant",
    "URI",
    "URIs",
    "UpdateCollectionMetadata",
    "UpdateMetadata",
    "UserIdentity",
    "Where",
    "WhereDocument",
]
