# SPDX-License-Identifier: Apache-2.0
"""How a collection makes vectors of what it is given."""

from __future__ import annotations

import json
from typing import Any, Dict, Optional, Sequence, Tuple

from . import records, validation
from .embedding_functions import DefaultEmbeddingFunction, embed_query, rebuild
from .types import DataLoader
from .validation import Vectors

Stored = Optional[Dict[str, Any]]


class Embedder:
    """The embedding function and the data loader of a collection.

    `stored`, where a method takes it, is the embedding function as it stands in the collection's
    configuration: it is rebuilt where no other one was given.
    Thread safety: all methods.
    """

    def __init__(self, function: Optional[Any], data_loader: Optional[DataLoader]) -> None:
        self.function = function
        self.data_loader = data_loader
        self._rebuilt: Optional[Tuple[str, Any]] = None

    def load(self, uris: Sequence[Optional[str]]) -> Any:
        """What the data loader makes of URIs; ValueError without one."""
        if self.data_loader is None:
            raise ValueError("You must set a data loader on the collection if loading from URIs.")
        return self.data_loader(uris)

    def embed_columns(
        self, stored: Stored, columns: Dict[str, Any], fields: Sequence[str], is_query: bool = False
    ) -> Vectors:
        """Vectors of the one column of `fields` that is given."""
        field = records.column_to_embed(columns, fields)
        given = columns[field]
        values = self.load(given) if field == "uris" else given
        vectors = self._embed(stored, values, is_query)
        if len(vectors) != len(given):
            raise ValueError(
                f"the embedding function made {len(vectors)} embeddings of {len(given)} {field}"
            )
        return vectors

    def embed_rank(self, stored: Stored, rank: Any) -> Any:
        """A ranking expression in which texts to be searched have become vectors."""
        if isinstance(rank, list):
            return [self.embed_rank(stored, each) for each in rank]
        if not isinstance(rank, dict):
            return rank
        result: Dict[str, Any] = {}
        for key, value in rank.items():
            if key == "$knn" and isinstance(value, dict):
                result[key] = {**value, "query": self._embed_query(stored, value.get("query"))}
            else:
                result[key] = self.embed_rank(stored, value)
        return result

    def _embed_query(self, stored: Stored, query: Any) -> Any:
        if isinstance(query, str):
            query = self._embed(stored, [query], is_query=True)[0]
        return query.tolist() if hasattr(query, "tolist") else query

    def _embed(self, stored: Stored, values: Any, is_query: bool) -> Vectors:
        function = self._function(stored)
        if function is None:
            raise ValueError(
                "You must provide an embedding function to compute embeddings: pass "
                "embedding_function=… where the collection is created or opened"
            )
        made = embed_query(function, values) if is_query else function(values)
        vectors = validation.normalize_embeddings(made)
        if vectors is None:
            raise ValueError("the embedding function returned None")
        return validation.validate_embeddings(vectors)

    def _function(self, stored: Stored) -> Optional[Any]:
        """The one that was given; else the stored one."""
        if self.function is not None and not isinstance(self.function, DefaultEmbeddingFunction):
            return self.function
        if stored is None:
            return self.function
        key = json.dumps(stored, sort_keys=True)
        rebuilt = self._rebuilt
        if rebuilt is None or rebuilt[0] != key:
            rebuilt = self._rebuilt = (key, rebuild(stored))
        return rebuilt[1] if rebuilt[1] is not None else self.function
