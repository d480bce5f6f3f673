# SPDX-License-Identifier: Apache-2.0
"""The columns of a call: made equal in form, checked, and known to be of equal length."""

from __future__ import annotations

from typing import Any, Dict, Sequence

import numpy as np

from . import validation

EMBEDDABLE = ("documents", "images", "uris")


def normalize_columns(
    embeddings: Any = None, documents: Any = None, images: Any = None, uris: Any = None
) -> Dict[str, Any]:
    """The columns that hold, or become, embeddings: one or many in, many out."""
    return {
        "embeddings": validation.normalize_embeddings(embeddings),
        "documents": validation.as_list(documents),
        "images": validation.as_list(images),
        "uris": validation.as_list(uris),
    }


def normalize_records(
    ids: Any, embeddings: Any, metadatas: Any, documents: Any, images: Any, uris: Any
) -> Dict[str, Any]:
    """All columns of add, update and upsert; checked."""
    columns = {
        "ids": validation.as_list(ids),
        "metadatas": validation.normalize_metadatas(metadatas),
        **normalize_columns(embeddings, documents, images, uris),
    }
    validate_columns(columns)
    validation.validate_ids(columns["ids"])
    for metadata in columns["metadatas"] or ():
        validation.validate_metadata(metadata)
    return columns


def validate_columns(columns: Dict[str, Any]) -> None:
    """Lengths first, then the values of embeddings, documents and images."""
    lengths = {name: len(column) for name, column in columns.items() if column is not None}
    if not lengths:
        raise ValueError(f"At least one of one of {', '.join(columns)} must be provided")
    empty = [name for name, length in lengths.items() if length == 0]
    if empty:
        raise ValueError(f"Non-empty lists are required for {empty}")
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name}: {length}" for name, length in lengths.items())
        raise ValueError(f"Unequal lengths for fields: {found}")
    if columns["embeddings"] is not None:
        validation.validate_embeddings(columns["embeddings"])
    for document in columns["documents"] or ():
        # None only where the record has an embedding of its own.
        if not isinstance(document, str) and (
            document is not None or columns["embeddings"] is None
        ):
            raise ValueError(f"Expected document to be a str, got {document}")
    for image in columns["images"] or ():
        if not isinstance(image, np.ndarray) or image.ndim < 2:
            raise ValueError(f"Expected image to be a numpy array, got {image}")


def column_to_embed(columns: Dict[str, Any], fields: Sequence[str] = EMBEDDABLE) -> str:
    """The name of the one column of `fields` to make embeddings of."""
    given = [name for name in fields if columns[name] is not None]
    if len(given) != 1:
        raise ValueError(f"Exactly one of {', '.join(fields)} must be provided")
    return given[0]
