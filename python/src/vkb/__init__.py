# SPDX-License-Identifier: Apache-2.0
"""vkb: an embedded, on-disk vector engine with ChromaDB's interface.

    import vkb

    client = vkb.PersistentClient("kb")
    notes = client.get_or_create_collection("notes", configuration={"hnsw": {"space": "cosine"}})
    notes.add(ids=["a"], embeddings=[[0.1, 0.2]], documents=["…"], metadatas=[{"year": 2024}])
    found = notes.query(query_embeddings=[[0.1, 0.3]], n_results=5, where={"year": {"$gt": 2020}})

Code that was written for Chroma runs with `import vkb as chromadb`: the clients, collections and
types are here. Not here are Cmek, RustClient, configure(), get_settings() of the package, and the
clients' clear_system_cache() and from_system(). Code that needs them or imports from inside
chromadb, and libraries on top of it, run on vkb's engine with the chromadb package itself and
`chromadb.Client(chromadb.Settings(chroma_api_impl="vkb.chroma.EmbeddedAPI", …))`: see vkb.chroma.

Where to read on: help(vkb.PersistentClient), help(vkb.Collection), help(vkb.embedding_functions),
help(vkb.errors), help(vkb.Search), help(vkb.AsyncClient).
"""

import _vkb_chromadb  # noqa: F401

from . import config, errors
from ._vkb import version as __version__
from .aio import AsyncClient, AsyncCollection, AsyncHttpClient
from .client import AdminAPI, ClientAPI
from .collection import Collection
from .config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, TokenTransportHeader
from .configuration import (
    CollectionConfiguration,
    CreateCollectionConfiguration,
    UpdateCollectionConfiguration,
)
from .constructors import (
    AdminClient,
    Client,
    CloudClient,
    EphemeralClient,
    HttpClient,
    PersistentClient,
)
from .embedding_functions import EmbeddingFunction, SparseEmbeddingFunction
from .schema import (
    BoolInvertedIndexConfig,
    FloatInvertedIndexConfig,
    FtsIndexConfig,
    HnswIndexConfig,
    IntInvertedIndexConfig,
    Schema,
    SpannIndexConfig,
    SparseVectorIndexConfig,
    StringInvertedIndexConfig,
    VectorIndexConfig,
)
from .search import GroupBy, K, Key, Knn, Limit, MaxK, MinK, Rank, Rrf, Search, Select, Val
from .types import (
    ID,
    URI,
    CollectionMetadata,
    DataLoader,
    DeleteResult,
    Documents,
    Embeddings,
    GetResult,
    IDs,
    Images,
    Include,
    IndexingStatus,
    Metadata,
    Metadatas,
    QueryResult,
    ReadLevel,
    SearchResult,
    SparseVector,
    SparseVectors,
    UpdateCollectionMetadata,
    UpdateMetadata,
    URIs,
    Where,
    WhereDocument,
)

__all__ = [
    "AdminAPI",
    "AdminClient",
    "AsyncClient",
    "AsyncCollection",
    "AsyncHttpClient",
    "BoolInvertedIndexConfig",
    "Client",
    "ClientAPI",
    "CloudClient",
    "Collection",
    "CollectionConfiguration",
    "CollectionMetadata",
    "CreateCollectionConfiguration",
    "DEFAULT_DATABASE",
    "DEFAULT_TENANT",
    "DataLoader",
    "DeleteResult",
    "Documents",
    "EmbeddingFunction",
    "Embeddings",
    "EphemeralClient",
    "FloatInvertedIndexConfig",
    "FtsIndexConfig",
    "GetResult",
    "GroupBy",
    "HnswIndexConfig",
    "HttpClient",
    "ID",
    "IDs",
    "Images",
    "Include",
    "IndexingStatus",
    "IntInvertedIndexConfig",
    "K",
    "Key",
    "Knn",
    "Limit",
    "MaxK",
    "Metadata",
    "Metadatas",
    "MinK",
    "PersistentClient",
    "QueryResult",
    "Rank",
    "ReadLevel",
    "Rrf",
    "Schema",
    "Search",
    "SearchResult",
    "Select",
    "Settings",
    "SpannIndexConfig",
    "SparseEmbeddingFunction",
    "SparseVector",
    "SparseVectorIndexConfig",
    "SparseVectors",
    "StringInvertedIndexConfig",
    "TokenTransportHeader",
    "URI",
    "URIs",
    "UpdateCollectionConfiguration",
    "UpdateCollectionMetadata",
    "UpdateMetadata",
    "Val",
    "VectorIndexConfig",
    "Where",
    "WhereDocument",
    "__version__",
    "config",
    "errors",
]
