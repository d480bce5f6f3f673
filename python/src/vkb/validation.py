# SPDX-License-Identifier: Apache-2.0
"""Checks and normal forms of arguments, as strict and in the words as Chroma's client."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Sequence, Set, Union

import numpy as np
from numpy.typing import NDArray

from . import errors

# Embeddings as the engine takes them: one 2-D array, or arrays of one dimension.
Vectors = Union[NDArray[Any], List[NDArray[Any]]]

INCLUDE_VALUES = ("documents", "embeddings", "metadatas", "distances", "uris", "data")
_FLOAT_TYPES = tuple(np.dtype(t) for t in (np.float16, np.float32, np.float64, np.int32, np.int64))
_COMPARISONS = ("$gt", "$gte", "$lt", "$lte")
_MEMBERSHIPS = ("$in", "$nin")
_ARRAY_OPERATORS = ("$contains", "$not_contains")
_FIELD_OPERATORS = (*_COMPARISONS, "$ne", "$eq", *_MEMBERSHIPS, *_ARRAY_OPERATORS)
_DOCUMENT_OPERATORS = ("$contains", "$not_contains", "$regex", "$not_regex", "$and", "$or")


@contextlib.contextmanager
def named(operation: str) -> Iterator[None]:
    """Ends the message of what goes wrong inside with the operation's name: "… in add."."""
    try:
        yield
    except Exception as error:
        if error.args:
            error.args = (f"{error} in {operation}.", *error.args[1:])
        raise


def as_list(value: Any) -> Optional[List[Any]]:
    """One or many, as many."""
    return value if value is None or isinstance(value, list) else [value]


def is_sparse(value: Any) -> bool:
    """Whether `value` is a SparseVector, ours or chromadb's."""
    return type(value).__name__ == "SparseVector" and hasattr(value, "to_dict")


@np.errstate(over="ignore")  # what is too large for 32 bits becomes infinite, and is refused
def normalize_embeddings(target: Any) -> Optional[Vectors]:
    """One vector or many, in any of the accepted forms, as arrays."""
    if target is None:
        return None
    if len(target) == 0:
        raise ValueError(f"Expected Embeddings to be non-empty list or numpy array, got {target}")
    if isinstance(target, np.ndarray):
        if target.ndim == 1:
            return target[np.newaxis, :]
        if target.ndim == 2:
            return target
    elif isinstance(target, list):
        first = target[0]
        if _is_number(first):
            return np.array([target], dtype=np.float32)
        if isinstance(first, np.ndarray):
            return target
        if isinstance(first, (list, tuple)) and len(first) > 0 and _is_number(first[0]):
            try:
                return np.array(target, dtype=np.float32)
            except ValueError:  # rows of several lengths: the engine says so in its own words
                return [np.array(row, dtype=np.float32) for row in target]
    raise ValueError(
        "Expected embeddings to be a list of floats or ints, a list of lists, a numpy array, or a "
        f"list of numpy arrays, got {target}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(value, bool)


def validate_embeddings(embeddings: Any) -> Vectors:
    """Each a vector of at least one number."""
    if not isinstance(embeddings, (list, np.ndarray)):
        raise ValueError(f"Expected embeddings to be a list, got {type(embeddings).__name__}")
    if len(embeddings) == 0:
        raise ValueError(
            "Expected embeddings to be a list with at least one item, got 0 embeddings"
        )
    if isinstance(embeddings, np.ndarray) and embeddings.ndim == 2:
        _validate_vector(embeddings[0], 0)
        return embeddings
    kinds = sorted({type(e).__name__ for e in embeddings if not isinstance(e, np.ndarray)})
    if kinds:
        raise ValueError(
            f"Expected each embedding in the embeddings to be a numpy array, got {kinds}"
        )
    for position, embedding in enumerate(embeddings):
        _validate_vector(embedding, position)
    return embeddings


def _validate_vector(embedding: NDArray[Any], position: int) -> None:
    if embedding.ndim != 1:
        raise ValueError(
            f"Expected a 1-dimensional array, got a {embedding.ndim}-dimensional array {embedding}"
        )
    if embedding.size == 0:
        raise ValueError(
            "Expected each embedding in the embeddings to be a 1-dimensional numpy array with at "
            "least 1 int/float value. Got a 1-dimensional numpy array with no values at pos "
            f"{position}"
        )
    if embedding.dtype not in _FLOAT_TYPES:
        raise ValueError(
            "Expected each value in the embedding to be a int or float, got an embedding with "
            f"{embedding.dtype} - {embedding}"
        )


def readable(embeddings: Optional[Vectors]) -> Optional[Vectors]:
    """The same as buffers of a format that the extension reads."""
    if isinstance(embeddings, np.ndarray):
        return embeddings.astype(np.float32) if embeddings.dtype == np.float16 else embeddings
    if embeddings is None or all(each.dtype != np.float16 for each in embeddings):
        return embeddings
    return [each.astype(np.float32) for each in embeddings]


def validate_ids(ids: Any) -> List[str]:
    """A list of different strings."""
    if not isinstance(ids, list):
        raise ValueError(f"Expected IDs to be a list, got {type(ids).__name__} as IDs")
    if not ids:
        raise ValueError("Expected IDs to be a non-empty list, got 0 IDs")
    for record_id in ids:
        if not isinstance(record_id, str):
            raise ValueError(f"Expected ID to be a str, got {record_id}")
    if len(set(ids)) != len(ids):
        seen: Set[str] = set()
        twice = sorted({i for i in ids if i in seen or seen.add(i)})  # type: ignore[func-returns-value]
        if len(twice) < 10:
            message = f"Expected IDs to be unique, found duplicates of: {', '.join(twice)}"
        else:
            some = f"{', '.join(twice[:5])}, ..., {', '.join(twice[-5:])}"
            message = f"Expected IDs to be unique, found {len(twice)} duplicated IDs: {some}"
        raise errors.raisable(errors.DuplicateIDError)(message)
    return ids


def validate_metadata(metadata: Any) -> None:
    """None, or a dict of strings to str, int, float, bool, None, or lists of one of these."""
    if metadata is None:
        return
    if not isinstance(metadata, dict):
        raise ValueError(
            f"Expected metadata to be a dict or None, got {type(metadata).__name__} as metadata"
        )
    if not metadata:
        raise ValueError("Expected metadata to be a non-empty dict, got 0 metadata attributes")
    for key, value in metadata.items():
        if key == "chroma:document":
            raise ValueError("Expected metadata to not contain the reserved key chroma:document")
        if not isinstance(key, str):
            raise TypeError(
                f"Expected metadata key to be a str, got {key} which is a {type(key).__name__}"
            )
        if isinstance(value, list):
            _validate_metadata_list(key, value)
        elif (
            value is not None and not isinstance(value, (str, int, float)) and not is_sparse(value)
        ):
            raise ValueError(
                "Expected metadata value to be a str, int, float, bool, SparseVector, list, or "
                f"None, got {value} which is a {type(value).__name__}"
            )


def _validate_metadata_list(key: str, values: List[Any]) -> None:
    if not values:
        raise ValueError(f"Expected metadata list value for key '{key}' to be non-empty")
    kind = type(values[0])
    if kind not in (str, int, float, bool) or any(type(value) is not kind for value in values):
        raise ValueError(
            f"Expected metadata list value for key '{key}' to contain only str, int, float, or "
            f"bool and all elements must be the same type, got {values}"
        )


def normalize_metadatas(metadatas: Any) -> Optional[List[Any]]:
    """One dict or many, as many; sparse vectors written as dicts become objects."""
    from .types import SparseVector

    unpacked = as_list(metadatas)
    if unpacked is None:
        return None

    def normal(value: Any) -> Any:
        if isinstance(value, dict) and value.get("#type") == "sparse_vector":
            return SparseVector.from_dict(value)
        return value

    return [
        (
            {key: normal(value) for key, value in metadata.items()}
            if isinstance(metadata, dict) and any(isinstance(v, dict) for v in metadata.values())
            else metadata
        )
        for metadata in unpacked
    ]


def validate_where(where: Any) -> None:
    """The grammar of filters on metadata."""
    if not isinstance(where, dict):
        raise ValueError(f"Expected where to be a dict, got {where}")
    if len(where) != 1:
        raise ValueError(f"Expected where to have exactly one operator, got {where}")
    ((key, value),) = where.items()
    if not isinstance(key, str):
        raise ValueError(f"Expected where key to be a str, got {key}")
    if key in _ARRAY_OPERATORS:
        raise ValueError(
            "Expected where key to be a metadata field name or a logical operator ($and, $or), "
            f"got {key}"
        )
    if key in ("$and", "$or"):
        if not isinstance(value, list):
            raise ValueError(
                "Expected where value for $and or $or to be a list of where expressions, got "
                f"{value}"
            )
        if len(value) < 2:
            raise ValueError(
                "Expected where value for $and or $or to be a list with at least two where "
                f"expressions, got {value}"
            )
        for expression in value:
            validate_where(expression)
    elif isinstance(value, dict):
        _validate_operator(key, value)
    elif key not in _MEMBERSHIPS and not isinstance(value, (str, int, float)):
        raise ValueError(
            "Expected where value to be a str, int, float, or operator expression, got " f"{value}"
        )


def _validate_operator(key: str, expression: Dict[Any, Any]) -> None:
    if len(expression) != 1:
        raise ValueError(
            f"Expected operator expression to have exactly one operator, got {expression}"
        )
    ((operator, operand),) = expression.items()
    if operator in _COMPARISONS and not isinstance(operand, (int, float)):
        raise ValueError(
            f"Expected operand value to be an int or a float for operator {operator}, got {operand}"
        )
    if operator in _MEMBERSHIPS and not isinstance(operand, list):
        raise ValueError(
            f"Expected operand value to be an list for operator {operator}, got {operand}"
        )
    if operator in _ARRAY_OPERATORS:
        if key == "#document" and not isinstance(operand, str):
            raise ValueError(
                f"Expected operand value to be a str for operator {operator} on #document, got "
                f"{operand}"
            )
        if not isinstance(operand, (str, int, float)):
            raise ValueError(
                "Expected operand value to be a str, int, float, or bool for operator "
                f"{operator}, got {operand}"
            )
    if operator not in _FIELD_OPERATORS:
        raise ValueError(
            "Expected where operator to be one of $gt, $gte, $lt, $lte, $ne, $eq, $in, $nin, "
            f"$contains, $not_contains, got {operator}"
        )
    if not isinstance(operand, (str, int, float, list)):
        raise ValueError(
            "Expected where operand value to be a str, int, float, bool, or list of those type, "
            f"got {operand}"
        )
    if isinstance(operand, list) and (
        not operand or not all(isinstance(x, type(operand[0])) for x in operand)
    ):
        raise ValueError(
            "Expected where operand value to be a non-empty list, and all values to be of the same "
            f"type got {operand}"
        )


def validate_where_document(where_document: Any) -> None:
    """The grammar of filters on documents."""
    if not isinstance(where_document, dict):
        raise ValueError(f"Expected where document to be a dictionary, got {where_document}")
    if len(where_document) != 1:
        raise ValueError(
            f"Expected where document to have exactly one operator, got {where_document}"
        )
    ((operator, operand),) = where_document.items()
    if operator not in _DOCUMENT_OPERATORS:
        raise ValueError(
            "Expected where document operator to be one of $contains, $not_contains, $regex, "
            f"$not_regex, $and, $or, got {operator}"
        )
    if operator in ("$and", "$or"):
        if not isinstance(operand, list):
            raise ValueError(
                "Expected document value for $and or $or to be a list of where document "
                f"expressions, got {operand}"
            )
        if len(operand) < 2:
            raise ValueError(
                "Expected document value for $and or $or to be a list with at least two where "
                f"document expressions, got {operand}"
            )
        for expression in operand:
            validate_where_document(expression)
    elif not isinstance(operand, str):
        raise ValueError(
            f"Expected where document operand value for operator {operator} to be a str, got "
            f"{operand}"
        )
    elif not operand:
        raise ValueError(
            f"Expected where document operand value for operator {operator} to be a non-empty str"
        )


def validate_filters(where: Any, where_document: Any) -> None:
    """Both filters, where given."""
    if where is not None:
        validate_where(where)
    if where_document is not None:
        validate_where_document(where_document)


def validate_include(include: Any, disallowed: Sequence[str] = ()) -> List[str]:
    """A list of names of columns; returns a copy of it."""
    if not isinstance(include, list):
        raise ValueError(f"Expected include to be a list, got {include}")
    for item in include:
        if not isinstance(item, str):
            raise ValueError(f"Expected include item to be a str, got {item}")
        if item not in INCLUDE_VALUES:
            raise ValueError(
                f"Expected include item to be one of {', '.join(INCLUDE_VALUES)}, got {item}"
            )
        if item in disallowed:
            raise ValueError(f"Include item cannot be one of {', '.join(disallowed)}, got {item}")
    return list(include)


def validate_n_results(n_results: Any) -> int:
    """A positive integer."""
    if not isinstance(n_results, int):
        raise ValueError(f"Expected requested number of results to be a int, got {n_results}")
    if n_results <= 0:
        raise TypeError(f"Number of requested results {n_results}, cannot be negative, or zero.")
    return n_results
