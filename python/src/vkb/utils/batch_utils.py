# SPDX-License-Identifier: Apache-2.0
"""Batches as large as a client takes."""

from __future__ import annotations

from typing import Any, List, Optional, Tuple

from ..client import ClientAPI

Batches = List[Tuple[List[str], Optional[Any], Optional[List[Any]], Optional[List[str]]]]


def create_batches(
    api: ClientAPI,
    ids: List[str],
    embeddings: Optional[Any] = None,
    metadatas: Optional[List[Any]] = None,
    documents: Optional[List[str]] = None,
) -> Batches:
    """(ids, embeddings, metadatas, documents) for one call of add() each."""
    most = api.get_max_batch_size()
    columns = (ids, embeddings, metadatas, documents)
    return [
        tuple(None if c is None else c[start : start + most] for c in columns)  # type: ignore[misc]
        for start in range(0, max(len(ids), 1), most)
    ]
