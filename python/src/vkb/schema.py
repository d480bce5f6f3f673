# SPDX-License-Identifier: Apache-2.0
"""Which fields of a collection are indexed, under the names that Chroma gives it.

    schema = Schema().delete_index(StringInvertedIndexConfig(), key="note")
    client.create_collection("notes", schema=schema)

A field without its index is stored and returned, and cannot be filtered by.
"""

from __future__ import annotations

import copy
from dataclasses import asdict, dataclass
from typing import Any, Dict, Optional, Tuple, Union

from .embedding_functions import DefaultEmbeddingFunction, describe, rebuild
from .expressions import Key
from .types import Space

__all__ = [
    "BoolInvertedIndexConfig",
    "FloatInvertedIndexConfig",
    "FtsIndexConfig",
    "HnswIndexConfig",
    "IntInvertedIndexConfig",
    "Schema",
    "SpannIndexConfig",
    "SparseVectorIndexConfig",
    "StringInvertedIndexConfig",
    "VectorIndexConfig",
]

DOCUMENT_KEY = "#document"
EMBEDDING_KEY = "#embedding"


@dataclass
class FtsIndexConfig:
    """The index of documents for $contains and $regex."""


@dataclass
class StringInvertedIndexConfig:
    """The index of metadata strings."""


@dataclass
class IntInvertedIndexConfig:
    """The index of metadata integers."""


@dataclass
class FloatInvertedIndexConfig:
    """The index of metadata floats."""


@dataclass
class BoolInvertedIndexConfig:
    """The index of metadata bools."""


@dataclass
class HnswIndexConfig:
    """The graph; see vkb.configuration.HNSWConfiguration."""

    ef_construction: Optional[int] = None
    max_neighbors: Optional[int] = None
    ef_search: Optional[int] = None
    num_threads: Optional[int] = None
    batch_size: Optional[int] = None
    sync_threshold: Optional[int] = None
    resize_factor: Optional[float] = None


@dataclass
class SpannIndexConfig:
    """An index of Chroma's cloud; a graph takes its place."""

    search_nprobe: Optional[int] = None
    write_nprobe: Optional[int] = None
    ef_construction: Optional[int] = None
    ef_search: Optional[int] = None
    max_neighbors: Optional[int] = None
    reassign_neighbor_count: Optional[int] = None
    split_threshold: Optional[int] = None
    merge_threshold: Optional[int] = None


@dataclass
class VectorIndexConfig:
    """The index of embeddings: how distance is measured, what embeds, and the graph."""

    space: Optional[Space] = None
    embedding_function: Optional[Any] = DefaultEmbeddingFunction()
    source_key: Optional[str] = None
    hnsw: Optional[HnswIndexConfig] = None
    spann: Optional[SpannIndexConfig] = None


@dataclass
class SparseVectorIndexConfig:
    """An index of sparse vectors. Neither vkb nor a local Chroma has one: it is refused."""

    embedding_function: Optional[Any] = None
    source_key: Optional[str] = None
    bm25: Optional[bool] = None


IndexConfig = Union[
    FtsIndexConfig,
    StringInvertedIndexConfig,
    IntInvertedIndexConfig,
    FloatInvertedIndexConfig,
    BoolInvertedIndexConfig,
    VectorIndexConfig,
    SparseVectorIndexConfig,
]

# Where each index stands: the type of values, and the name of the index.
_PLACES: Dict[type, Tuple[str, str]] = {
    FtsIndexConfig: ("string", "fts_index"),
    StringInvertedIndexConfig: ("string", "string_inverted_index"),
    IntInvertedIndexConfig: ("int", "int_inverted_index"),
    FloatInvertedIndexConfig: ("float", "float_inverted_index"),
    BoolInvertedIndexConfig: ("bool", "bool_inverted_index"),
    VectorIndexConfig: ("float_list", "vector_index"),
    SparseVectorIndexConfig: ("sparse_vector", "sparse_vector_index"),
}


def _index(enabled: bool, config: Optional[Dict[str, Any]] = None) -> Dict[str, Any]:
    return {"enabled": enabled, "config": config or {}}


def _initial() -> Dict[str, Any]:
    vector = {"embedding_function": describe(DefaultEmbeddingFunction()), "space": "l2"}
    return {
        "defaults": {
            "string": {"fts_index": _index(False), "string_inverted_index": _index(True)},
            "float_list": {"vector_index": _index(False, dict(vector))},
            "sparse_vector": {
                "sparse_vector_index": _index(
                    False, {"bm25": False, "embedding_function": {"type": "unknown"}}
                )
            },
            "int": {"int_inverted_index": _index(True)},
            "float": {"float_inverted_index": _index(True)},
            "bool": {"bool_inverted_index": _index(True)},
        },
        "keys": {
            EMBEDDING_KEY: {
                "float_list": {"vector_index": _index(True, {**vector, "source_key": DOCUMENT_KEY})}
            },
            DOCUMENT_KEY: {
                "string": {"fts_index": _index(True), "string_inverted_index": _index(False)}
            },
        },
    }


class Fields(Dict[str, Any]):
    """Part of a schema: a JSON object whose members are attributes too, as in Chroma
    (`schema.keys["word"].string.fts_index.enabled`); one that is absent is None."""

    _NAMES = {"int_value": "int", "float_value": "float", "boolean": "bool"}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        value = self.get(self._NAMES.get(name, name))
        if name == "embedding_function":
            return rebuild(value)
        return Fields(value) if isinstance(value, dict) else value


class Schema:
    """The indexes of a collection: `defaults` by type of value, and `keys` by field."""

    def __init__(self) -> None:
        self._json = _initial()

    @property
    def defaults(self) -> Fields:
        """For fields that `keys` does not name."""
        return Fields(self._json["defaults"])

    @property
    def keys(self) -> Dict[str, Fields]:
        """By field; "#document" and "#embedding" are the record's own."""
        return {key: Fields(value) for key, value in self._json["keys"].items()}

    def create_index(
        self, config: Optional[IndexConfig] = None, key: Union[str, Key, None] = None
    ) -> "Schema":
        """Indexes the field `key`, or all fields of that type. Returns itself.

        VectorIndexConfig, without a key, says how embeddings are indexed.
        """
        name = key.name if isinstance(key, Key) else key
        config = _checked(config, name, "create")
        if isinstance(config, VectorIndexConfig):
            if name is not None:
                raise ValueError(
                    "Vector index cannot be enabled on specific keys. Use "
                    "create_index(config=VectorIndexConfig(...)) without specifying a key to "
                    "configure the vector index globally."
                )
            self._set_vector_index(config)
            return self
        if isinstance(config, SparseVectorIndexConfig) and name is None:
            raise ValueError(
                "Sparse vector index must be created on a specific key. Please specify a key "
                "using: create_index(config=SparseVectorIndexConfig(...), key='your_key')"
            )
        return self._set(config, name, True)

    def delete_index(
        self, config: Optional[IndexConfig] = None, key: Union[str, Key, None] = None
    ) -> "Schema":
        """Leaves the field `key`, or all fields of that type, without the index. Returns itself."""
        name = key.name if isinstance(key, Key) else key
        config = _checked(config, name, "delete")
        if isinstance(config, (VectorIndexConfig, SparseVectorIndexConfig)):
            raise ValueError("Deleting vector indexes is not currently supported.")
        return self._set(config, name, False)

    def _set(self, config: IndexConfig, key: Optional[str], enabled: bool) -> "Schema":
        kind, index = _PLACES[type(config)]
        json = self._json
        where = json["defaults"] if key is None else json["keys"].setdefault(key, {})
        where.setdefault(kind, {})[index] = _index(enabled, _config_to_json(config))
        return self

    def _set_vector_index(self, config: VectorIndexConfig) -> None:
        plain = _config_to_json(config)
        for where in (self._json["defaults"], self._json["keys"][EMBEDDING_KEY]):
            index = where["float_list"]["vector_index"]
            source = index["config"].get("source_key")
            index["config"] = {**plain, **({"source_key": source} if source else {})}

    def serialize_to_json(self) -> Dict[str, Any]:
        """As it is stored."""
        return copy.deepcopy(self._json)

    @classmethod
    def deserialize_from_json(cls, json_data: Dict[str, Any]) -> "Schema":
        """From what is stored."""
        schema = cls()
        if json_data:
            schema._json = {"defaults": {}, "keys": {}, **copy.deepcopy(json_data)}
        return schema

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Schema) and self._json == other._json

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Schema(keys={sorted(self.keys)})"


def _checked(config: Optional[IndexConfig], key: Optional[str], verb: str) -> IndexConfig:
    if config is None or type(config) not in _PLACES:
        raise ValueError(
            f"Cannot {verb} all indexes. Must specify an index configuration, such as "
            f"StringInvertedIndexConfig(); got {config!r}"
        )
    if key == EMBEDDING_KEY:
        raise ValueError(
            f"Cannot {verb} index on special key '{key}'. This key is managed automatically by "
            "the system."
        )
    if key is not None and key.startswith("#") and key != DOCUMENT_KEY:
        raise ValueError(
            "key cannot begin with '#'. Keys starting with '#' are reserved for system use."
        )
    if isinstance(config, FtsIndexConfig) != (key == DOCUMENT_KEY):
        raise ValueError(
            "FTS index can only be enabled on #document key, and is the only one there. Use "
            f"{verb}_index(config=FtsIndexConfig(), key='#document')"
        )
    return config


def _config_to_json(config: IndexConfig) -> Dict[str, Any]:
    function = getattr(config, "embedding_function", None)
    fields = {k: v for k, v in vars(config).items() if k != "embedding_function"}
    plain = {
        k: {n: x for n, x in asdict(v).items() if x is not None} if hasattr(v, "__dict__") else v
        for k, v in fields.items()
        if v is not None
    }
    if isinstance(config, VectorIndexConfig):
        plain["embedding_function"] = describe(function)
        if function is not None and "space" not in plain:
            if plain["embedding_function"]["type"] == "known":
                plain["space"] = function.default_space()
    elif isinstance(config, SparseVectorIndexConfig):
        unknown = {"type": "unknown"}
        plain["embedding_function"] = describe(function) if function is not None else unknown
    return plain
