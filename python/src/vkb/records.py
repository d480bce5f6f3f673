# SPDX-License-Identifier: Apache-2.0
"""The columns of a call: made equal in form, checked, and known to be of equal length."""

from __future__ import annotations

import math
from typing import Any, Dict, Iterator, Sequence, Tuple

import numpy as np

from . import errors, validation
from .server_api import Batch
from .validation import Vectors

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


def refuse_none(batch: Batch) -> None:
    """TypeError for None under a key of new metadata: there is nothing that it could remove."""
    for position, metadata in enumerate(batch.metadatas or ()):
        if metadata is None or None not in metadata.values():
            continue
        key = next(key for key, value in metadata.items() if value is None)
        where = f"of record {position}, id {_entry(batch.ids, position)!r}"
        raise TypeError(
            f"Expected the value under metadata key {key!r} {where} not to be None in add: "
            "leave the key out"
        )


def refuse_unstorable(batch: Batch) -> None:
    """Raises for the first record that holds a number that is not finite, or a text that is not
    Unicode (a lone surrogate), and says which it is. Slow: for batches that were refused."""
    for position, record_id in enumerate(batch.ids):
        where = f"of record {position}, id {record_id!r}"
        embedding = _entry(batch.embeddings, position)
        if embedding is not None and not _is_finite(embedding):
            raise errors.raisable(errors.InvalidArgumentError)(
                f"the embedding {where}: expected finite numbers of 32 bits, found NaN or infinity"
            )
        for what, value in _values(batch, position):
            if isinstance(value, float) and not math.isfinite(value):
                raise errors.raisable(errors.InvalidArgumentError)(
                    f"{what} {where}: expected a finite number, found {value}"
                )
            if isinstance(value, str):
                _check_unicode(value, f"{what} {where}")


def are_finite(embeddings: Vectors) -> bool:
    """Whether all numbers of all embeddings are, as 32-bit floats."""
    if isinstance(embeddings, np.ndarray):
        return _is_finite(embeddings)
    return all(map(_is_finite, embeddings))


def _is_finite(array: Any) -> bool:
    with np.errstate(over="ignore"):
        return bool(np.isfinite(np.asarray(array, dtype=np.float32)).all())


def _values(batch: Batch, position: int) -> Iterator[Tuple[str, Any]]:
    """The texts and numbers of a record beside its embedding, with what they are."""
    yield "the id", batch.ids[position]
    yield "the document", _entry(batch.documents, position)
    yield "the uri", _entry(batch.uris, position)
    for key, value in (_entry(batch.metadatas, position) or {}).items():
        yield f"the metadata key {key!r}", key
        for each in value if isinstance(value, list) else (value,):
            yield f"the value under metadata key {key!r}", each


def _entry(column: Any, position: int) -> Any:
    """None where the column is not given, or too short, which is another refusal."""
    return None if column is None or position >= len(column) else column[position]


def _check_unicode(text: str, what: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        error.reason = f"{error.reason} ({what})"
        raise
